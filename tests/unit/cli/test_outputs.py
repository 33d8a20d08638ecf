from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.cli.outputs import parse_formats, plan_outputs, write_output
from auricle.cli.sources import Source
from auricle.errors import InvalidOption
from auricle.formats.registry import FORMATS


def source(path: str) -> Source:
    return Source(Path(path), Path(Path(path).name))


def names(plan: dict[Source, dict[str, Path]]) -> list[str]:
    return [str(path) for paths in plan.values() for path in paths.values()]


def test_outputs_are_named_after_their_source():
    plan = plan_outputs([source("in/talk.mp3")], ["srt", "text"], Path("out"))
    assert names(plan) == ["out/talk.srt", "out/talk.txt"]


def test_without_a_folder_outputs_lie_beside_their_source():
    assert names(plan_outputs([source("in/talk.mp3")], ["text"], None)) == ["in/talk.txt"]


def test_folders_within_the_folder_are_kept():
    nested = Source(Path("in/a/b.wav"), Path("a/b.wav"))
    assert names(plan_outputs([nested], ["text"], Path("out"))) == ["out/a/b.txt"]


def test_sources_of_one_name_keep_their_endings():
    plan = plan_outputs([source("in/a.mp3"), source("in/a.wav")], ["srt"], Path("out"))
    assert names(plan) == ["out/a.mp3.srt", "out/a.wav.srt"]


def test_equal_names_from_different_folders_are_numbered():
    plan = plan_outputs([source("x/a.mp3"), source("y/a.mp3")], ["srt"], Path("out"))
    assert names(plan) == ["out/a.mp3.srt", "out/a.mp3-2.srt"]


def test_an_input_is_never_an_output():
    plan = plan_outputs([source("in/talk.txt")], ["text"], None)
    assert names(plan) == ["in/talk.txt.txt"]


FILES = st.builds(
    lambda folder, stem, ending: f"{folder}/{stem}{ending}",
    st.sampled_from(["x", "y"]),
    st.sampled_from(["a", "A", "a.wav", "a-2", "b"]),
    st.sampled_from([".wav", ".mp3", ".txt", ".srt", ".wav.txt", ""]),
)


@given(
    st.lists(FILES, unique=True, max_size=12),
    st.lists(st.sampled_from(sorted(FORMATS)), min_size=1, unique=True),
    st.sampled_from([None, Path("x"), Path("out")]),
)
def test_no_output_is_an_input_or_another_output(files: list[str], formats: list[str], folder: Path | None):
    sources = [source(file) for file in files]
    outputs = [name.casefold() for name in names(plan_outputs(sources, formats, folder))]
    assert len(outputs) == len(files) * len(formats)
    assert len(set(outputs)) == len(outputs)
    assert not set(outputs) & {file.casefold() for file in files}


def test_all_means_every_format():
    assert parse_formats("all", speakers=True) == tuple(FORMATS)
    assert parse_formats("all") == tuple(name for name in FORMATS if name != "diarized_json")


def test_several_formats_are_taken_once_each():
    assert parse_formats("srt, vtt,srt") == ("srt", "vtt")


@pytest.mark.parametrize("value", ["", "doc", "srt,doc", "all,srt"])
def test_an_unknown_format_is_refused(value: str):
    with pytest.raises(InvalidOption, match="srt"):
        parse_formats(value)


def test_an_output_is_written_whole_and_leaves_nothing_else(tmp_path: Path):
    target = tmp_path / "new" / "a.txt"
    write_output(target, "naïve\r\n")
    assert target.read_bytes() == "naïve\r\n".encode()
    assert list(target.parent.iterdir()) == [target]


def test_a_failed_write_leaves_the_old_output(tmp_path: Path):
    target = tmp_path / "a.txt"
    write_output(target, "old")
    with pytest.raises(UnicodeEncodeError):
        write_output(target, "\ud800")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]

"""What the benchmarks compute from what they measure: figures, recordings, files, the table."""

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from benchmarks.__main__ import MEASURES, parse_arguments, result_name
from benchmarks.bench import length_name
from benchmarks.figures import Goal, Result, count_words, ratios, spread, word_error_rate
from benchmarks.machine import describe_machine, processor_kind
from benchmarks.processes import cpu_seconds, tree_of, watch_memory
from benchmarks.recordings import Utterance, build_recording, load_utterances, string_utterances
from benchmarks.table import BEGIN, END, load, newest, number, render, replace_between

from auricle.audio.decode import decode_audio


def _result(figure: list[float], goal: Goal | None) -> Result:
    ours, theirs = spread([2.0, 3.0, 4.0]), spread([4.0, 4.0, 4.0])
    return Result(
        id="C2",
        measure="latency",
        subject="auricle",
        peer="other",
        unit="s",
        ours=ours,
        theirs=theirs,
        figure=spread(figure),
        goal=goal,
    )


def _document(*results: Result, foreign: list[float]) -> dict:
    return {
        "schema": 1,
        "started": "2026-11-20T10:00:00+00:00",
        "machine": {
            "cpu": "Some CPU (family 25, avx2 avx512f)",
            "cores": 2,
            "ram_gib": 16.0,
            "os": "Linux",
            "python": "3.11.7",
            "libraries": {"numpy": "2.4"},
        },
        "model": {"shape": "base", "made": "widened", "quantization": "int8", "mib": 73.0},
        "settings": {"threads": 2, "compute_type": "int8", "concurrency": 1, "language": "auto"},
        "results": [json.loads(json.dumps(result.to_json())) for result in results],
        "runs": [{"foreign_cpu_share": share} for share in foreign],
    }


def test_a_ratio_is_taken_pair_by_pair():
    pairs = ratios(spread([1.0, 4.0, 3.0]), spread([2.0, 4.0, 12.0]))

    assert pairs.values == (0.5, 1.0, 0.25)
    assert pairs.median == 0.5


def test_values_that_have_no_partner_are_refused():
    with pytest.raises(ValueError, match="cannot pair"):
        ratios(spread([1.0, 2.0]), spread([1.0]))
    with pytest.raises(ValueError, match="cannot pair"):
        ratios(spread([1.0]), spread([0.0]))
    with pytest.raises(ValueError, match="nothing"):
        spread([])


@pytest.mark.parametrize(
    ("goal", "figure", "met"),
    [
        (Goal(at_most=0.45), [0.4, 0.45, 0.9], True),
        (Goal(at_most=0.45), [0.4, 0.46, 0.5], False),
        (Goal(at_least=2), [1.0, 2.0, 3.0], True),
        (Goal(at_least=2), [1.0, 1.9, 3.0], False),
        (Goal(at_most=0), [0.0], True),
        (None, [1.0], None),
    ],
)
def test_the_median_decides_whether_a_goal_is_met(goal: Goal | None, figure: list[float], met: bool | None):
    assert _result(figure, goal).met is met


def test_word_errors_do_not_count_case_and_punctuation():
    assert word_error_rate("Turn left, at the Hôtel!", "turn left at the hôtel") == 0
    assert word_error_rate("one two three four", "one too four") == 0.5
    assert word_error_rate("one two", "…") == 1
    with pytest.raises(ValueError, match="no words"):
        word_error_rate(" . ", "one")


def test_words_are_counted_without_punctuation():
    assert count_words("Turn – left, at seven o'clock.") == 5
    assert count_words(" … ") == 0


def test_the_utterances_are_cut_out_of_the_samples_with_their_texts():
    utterances = load_utterances()

    assert len(utterances) == 28
    assert utterances[0].text == "Please send the update to Sophie."
    assert utterances[0].samples.size == round((2.705 - 0.525 + 0.2) * 16_000)
    assert not any("Fünfzig" in utterance.text for utterance in utterances)


@pytest.mark.parametrize("seconds", [0.5, 5, 61.7])
def test_a_strung_recording_has_the_length_asked_for_and_pauses_between_the_words(seconds: float):
    loud = [Utterance(samples=np.full(16_000 * (1 + n), 0.5, np.float32), text=str(n)) for n in range(3)]

    pieces = list(string_utterances(loud, seconds, seed=1))

    assert sum(samples.size for samples, _ in pieces) == round(seconds * 16_000)
    assert all(text == "" for _, text in pieces[::2])
    assert all(text and np.all(samples == 0.5) for samples, text in pieces[1::2])
    assert all(samples.std() < 0.001 for samples, _ in pieces[::2])


def test_a_seed_gives_the_same_recording_and_another_one_another():
    utterances = load_utterances()
    first, again, other = (list(string_utterances(utterances, 30, seed)) for seed in (1, 1, 2))

    assert [text for _, text in first] == [text for _, text in again] != [text for _, text in other]
    assert all(np.array_equal(one, two) for (one, _), (two, _) in zip(first, again, strict=True))


def test_every_utterance_is_used_before_one_is_used_again():
    utterances = load_utterances()
    texts = [text for _, text in string_utterances(utterances, 300, seed=3) if text]

    assert sorted(texts[: len(utterances)]) == sorted(utterance.text for utterance in utterances)
    assert len(texts) > 2 * len(utterances)


def test_a_recording_is_written_once_and_read_from_the_cache_after(tmp_path: Path):
    built = build_recording(tmp_path, "speech", 6.5, seed=4)
    written = built.path.stat().st_mtime_ns
    again = build_recording(tmp_path, "speech", 6.5, seed=4)

    assert sum(block.size for block in decode_audio(built.path)) == 6.5 * 16_000
    assert again == built
    assert again.text
    assert again.path.stat().st_mtime_ns == written


def test_silence_is_silent_and_noise_is_not(tmp_path: Path):
    silence, noise = (
        np.concatenate(list(decode_audio(build_recording(tmp_path, kind, 40).path))) for kind in ("silence", "noise")
    )

    assert silence.size == noise.size == 40 * 16_000
    assert not silence.any()
    assert 0.019 < noise.std() < 0.021
    assert not np.array_equal(noise[: 16_000 * 5], noise[16_000 * 30 : 16_000 * 35])


_TAKES_MEMORY = """
import sys
sys.stdin.readline()
block = b"x" * (60 << 20)
print("taken", flush=True)
sys.stdin.readline()
"""


def test_the_memory_that_a_process_takes_is_seen():
    with subprocess.Popen(
        [sys.executable, "-c", _TAKES_MEMORY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with watch_memory(process.pid) as peak:
            process.stdin.write("go\n")
            process.stdin.flush()
            assert process.stdout.readline() == "taken\n"
            for _ in range(200):
                if peak.sampled_mib >= 60:
                    break
                time.sleep(0.05)
        process.stdin.close()

    assert peak.sampled_mib >= 60
    assert peak.high_water_mib is None or peak.high_water_mib >= 60


def test_the_time_of_this_process_is_part_of_the_machines():
    before = cpu_seconds(os.getpid())
    while (used := cpu_seconds(os.getpid()).since(before)).parent < 0.05:
        pass

    # They are differences of large numbers: equal ones may differ in the last digits.
    assert used.tree >= used.parent - 1e-6
    assert cpu_seconds(os.getpid()).machine > used.tree


def test_a_process_that_has_ended_uses_nothing():
    assert tree_of(2**22 + 1) == []
    assert cpu_seconds(2**22 + 1).tree == 0


def test_the_machine_is_described_in_plain_json():
    machine = json.loads(json.dumps(describe_machine()))

    assert machine["cores"] >= 1
    assert machine["libraries"]["faster-whisper"] == "1.2.1"


def test_all_measures_run_unless_some_are_chosen():
    assert parse_arguments([]).only == list(MEASURES)
    assert parse_arguments(["--only", "c3, C2"]).only == ["C2", "C3"]


def test_a_quick_run_does_not_touch_the_results():
    assert parse_arguments([]).out.name == "results"
    assert parse_arguments(["--quick", "--cache", "somewhere"]).out == Path("somewhere/quick")
    assert parse_arguments(["--quick", "--out", "here"]).out == Path("here")


@pytest.mark.parametrize("wrong", [["--only", "C2,C99"], ["--only", ","], ["--repeat", "0"], ["--size", "huge"]])
def test_arguments_that_make_no_sense_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises((SystemExit, argparse.ArgumentTypeError)):
        parse_arguments(wrong)
    assert wrong[0] in capsys.readouterr().err


def test_the_name_of_a_run_tells_its_date_and_setup():
    started = datetime(2026, 11, 20, 23, 5, tzinfo=UTC)

    assert result_name(started, "base", 2, "avx2", []) == "2026-11-20-base-int8-2core-avx2.json"
    assert result_name(started, "base", 2, "avx2", ["C2", "C3"]) == "2026-11-20-base-int8-2core-avx2-C2-C3.json"


def test_a_processor_is_known_by_the_last_of_its_vector_instructions():
    assert processor_kind("AMD EPYC (family 25, avx2 avx512f avx512_vnni avx512_bf16)") == "avx512_bf16"
    assert processor_kind("Neoverse-N1 (family None, )") == "other"


def test_the_newest_run_of_each_setup_is_shown():
    names = ["2026-11-20-base-int8-2core", "2026-12-01-base-int8-2core", "2026-11-20-small-int8-2core", "notes"]

    chosen = newest(Path(f"{name}.json") for name in names)

    assert [path.stem for path in chosen] == ["2026-12-01-base-int8-2core", "2026-11-20-small-int8-2core"]


def test_the_table_shows_median_spread_goal_and_verdict():
    document = _document(
        _result([0.5, 0.75, 1.0], Goal(at_most=0.45)),
        _result([3.0], Goal(at_least=2)),
        _result([3.0], None),
        foreign=[0.01, 0.02, 0.4],
    )

    table = render([document])

    assert "### C2: base int8, 2 threads, avx512f, 2026-11-20" in table
    assert "| C2 | latency | auricle | other | 3.00 s | 4.00 s | **0.75 (0.50–1.00)** | ≤ 0.45 | no |" in table
    assert "| **3.00** | ≥ 2 | yes |" in table
    assert "| **3.00** |  |  |" in table
    assert "other programs took 2% of the processor during the median one, 40% during the most disturbed" in table


def test_the_table_replaces_what_is_between_the_markers_and_nothing_else():
    page = f"# Title\n\n{BEGIN}\nold\n{END}\n\nafter\n"

    replaced = replace_between(page, "| new |")

    assert replaced == f"# Title\n\n{BEGIN}\n\n| new |\n\n{END}\n\nafter\n"
    assert replace_between(replaced, "| new |") == replaced
    with pytest.raises(ValueError, match="markers"):
        replace_between("# Title\n", "| new |")


def test_a_file_of_another_format_is_refused(tmp_path: Path):
    path = tmp_path / "2026-11-20-base-int8-2core.json"
    path.write_text('{"schema": 99}')

    with pytest.raises(ValueError, match="99"):
        load(path)


def test_numbers_keep_three_digits():
    assert [number(value) for value in (-0.0, 0.0123, 0.456, 3.14159, 12.34, 1234.5)] == [
        "0",
        "0.012",
        "0.46",
        "3.14",
        "12.3",
        "1234",
    ]


def test_lengths_are_named_in_the_largest_unit_that_fits():
    assert [length_name(seconds) for seconds in (5, 40, 90, 600, 10_800)] == ["5 s", "40 s", "90 s", "10 min", "3 h"]

"""Fields of the form that are about speakers."""

import base64
from pathlib import Path
from typing import Any

import pytest
from scripted_runtime import AUDIO, HELLO, TRANSCRIPTIONS, ScriptedTranscriber, calling, scripted_app, transcript
from test_event_stream import events_of

from auricle.config import Settings
from auricle.errors import InvalidOption, UnsupportedOption
from auricle.server.schemas import parse_form, transcribe_options
from auricle.speaker_types import Diarization
from auricle.types import ClipDone, Segment
from conversation import MAN, WOMAN, data_url
from samples import load_sample

Fields = list[tuple[str, str]]
ANN = [("known_speaker_names[]", "Ann"), ("known_speaker_references[]", "data:audio/wav;base64,AAAA")]
DIARIZED = ("response_format", "diarized_json")
MODEL = ("model", "gpt-4o-transcribe-diarize")


def asked(*fields: tuple[str, str], for_job: bool = False, **settings: Any) -> Diarization | None:
    return transcribe_options(parse_form(fields)[0], "transcribe", Settings(**settings), for_job=for_job).diarization


def refused(*fields: tuple[str, str]) -> InvalidOption:
    with pytest.raises(InvalidOption) as caught:
        parse_form(fields)
    return caught.value


@pytest.mark.parametrize("fields", [[DIARIZED], [("diarize", "true")], ANN])
def test_speakers_are_told_apart_where_anything_asks_for_them(fields: Fields) -> None:
    assert asked(*fields) == Diarization()


def test_without_a_wish_nobody_is_told_apart() -> None:
    assert asked() is None
    assert asked(("response_format", "verbose_json")) is None
    assert asked(("diarize", "false"), MODEL, ("response_format", "vtt")) is None


def test_numbers_of_speakers_ask_for_them_too() -> None:
    assert asked(("num_speakers", "2")) == Diarization(num_speakers=2)
    bounds = Diarization(min_speakers=2, max_speakers=5)
    assert asked(("min_speakers", "2"), ("max_speakers", "5")) == bounds


def test_the_name_of_openais_model_asks_for_speakers_where_they_can_be_shown() -> None:
    assert asked(MODEL) is None
    assert asked(MODEL, ("response_format", "text")) is None
    assert asked(MODEL, ("response_format", "vtt")) == Diarization()
    assert asked(MODEL, for_job=True) == Diarization()
    assert asked(MODEL, ("response_format", "vtt"), diarization="off") is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [([DIARIZED], "response_format"), ([("diarize", "true")], "diarize"), (ANN, "known_speaker_names")],
)
def test_speakers_are_refused_where_they_are_not_told_apart(fields: Fields, param: str) -> None:
    with pytest.raises(UnsupportedOption, match="AURICLE_DIARIZATION") as caught:
        asked(*fields, diarization="off")
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("param", "words", "fields"),
    [
        ("num_speakers", "1", [("num_speakers", "0")]),
        ("num_speakers", "32", [("num_speakers", "1000")]),
        ("num_speakers", "", [("num_speakers", "two")]),
        ("max_speakers", "", [("max_speakers", "-1")]),
        ("min_speakers", "more than max_speakers", [("min_speakers", "3"), ("max_speakers", "2")]),
        ("num_speakers", "leave out", [("num_speakers", "3"), ("max_speakers", "3")]),
        ("diarize", "response_format", [("diarize", "false"), DIARIZED]),
        ("diarize", "num_speakers", [("diarize", "false"), ("num_speakers", "2")]),
        ("known_speaker_names", "4", [("known_speaker_names[]", f"n{n}") for n in range(5)]),
        ("known_speaker_names", "[1]", [*ANN, ("known_speaker_names[]", "a\x00b")]),
        ("known_speaker_names", "[1]", [*ANN, ("known_speaker_names[]", "Ann")]),
        ("known_speaker_names", "[0]", [("known_speaker_names[]", "x" * 65)]),
        ("known_speaker_names", "[0]", [("known_speaker_names[]", "a\nb")]),
        ("known_speaker_references", "and 1 ", [*ANN, ("known_speaker_names[]", "Bob")]),
        ("known_speaker_references", "2", [*ANN, ANN[1]]),
        ("known_speaker_references", "4", [("known_speaker_references", "data:,")] * 5),
        ("known_speaker_references", "", [("known_speaker_references", "x" * (5 << 20))]),
        ("stream", "diarized_json", [("stream", "true"), ("response_format", "vtt")]),
    ],
)
def test_a_wrong_wish_is_refused_with_its_field_and_place(param: str, words: str, fields: Fields) -> None:
    error = refused(*fields)
    assert error.param == param
    assert words in error.message
    assert len(error.message) < 500


async def post(folder: Path, transcriber: ScriptedTranscriber, fields: dict, files: Any = None) -> Any:
    async with calling(scripted_app(folder, transcriber)) as client:
        return await client.post(TRANSCRIPTIONS, files=files or AUDIO, data=fields)


async def test_known_voices_come_as_data_urls_or_as_files(tmp_path: Path) -> None:
    woman, man = load_sample(WOMAN).path, load_sample(MAN).path
    names = {"known_speaker_names[]": ["Ann", "Bob"]}
    texts, files = ScriptedTranscriber(), ScriptedTranscriber()
    urls = names | {"known_speaker_references[]": [data_url(woman), data_url(man)]}
    assert (await post(tmp_path, texts, urls)).status_code == 200
    parts = [
        *AUDIO.items(),
        ("known_speaker_references[]", ("ann.wav", woman.read_bytes())),
        ("known_speaker_references[]", ("bob.wav", man.read_bytes())),
    ]
    answer = await post(tmp_path, files, names, parts)
    assert answer.status_code == 200, answer.text
    diarization = texts.asked[0][0].diarization
    assert diarization is not None
    assert [speaker.name for speaker in diarization.known] == ["Ann", "Bob"]
    assert diarization.known[0].voice != diarization.known[1].voice
    assert files.asked[0][0] == texts.asked[0][0]


@pytest.mark.parametrize(
    "reference",
    [
        "http://169.254.169.254/latest",
        "ann.wav",
        "data:audio/wav;base64",
        "data:audio/wav;base64,!!!",
        "data:audio/wav;base64,AAAA",
        "data:,",
        "data:;base64," + base64.b64encode(b"RIFF" + bytes(5000)).decode(),
    ],
)
@pytest.mark.parametrize("stream", ["true", "false"])
async def test_a_bad_sample_is_refused_with_its_place_before_any_work(
    tmp_path: Path, reference: str, stream: str
) -> None:
    transcriber = ScriptedTranscriber()
    fields = {
        "known_speaker_names[]": ["Ann", "Bob"],
        "known_speaker_references[]": [data_url(load_sample(WOMAN).path), reference],
        "response_format": "diarized_json",
        "stream": stream,
    }
    answer = await post(tmp_path, transcriber, fields)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] == "known_speaker_references"
    assert error["message"].startswith("known_speaker_references[1]: ")
    assert transcriber.asked == []


async def test_samples_are_bounded_together(tmp_path: Path) -> None:
    fields = {"known_speaker_references[]": ["data:," + "x" * (3 << 20)] * 5}
    answer = await post(tmp_path, ScriptedTranscriber(), fields)
    assert answer.status_code == 400
    assert "12 MiB" in answer.json()["error"]["message"]


async def test_segments_with_their_speakers_come_before_the_last_event(tmp_path: Path) -> None:
    segments = tuple(
        Segment(id=n, start=n, end=n + 1, text=text, speaker=who)
        for n, (text, who) in enumerate([(" Hello", "Ann"), (" there.", "A")])
    )
    spoken = ClipDone(start=0, end=2, segments=segments)
    fields = {"stream": "true", "response_format": "diarized_json"}
    answer = await post(tmp_path, ScriptedTranscriber([HELLO, transcript(spoken)]), fields)
    kinds = [event["type"] for event in events_of(answer.text)]
    assert kinds == ["transcript.text.delta", *["transcript.text.segment"] * 2, "transcript.text.done"]
    assert events_of(answer.text)[1] == {
        "type": "transcript.text.segment",
        "id": "seg_0",
        "start": 0.0,
        "end": 1.0,
        "speaker": "Ann",
        "text": " Hello",
    }
    plain = await post(
        tmp_path, ScriptedTranscriber([HELLO, transcript(spoken)]), {"stream": "true", "diarize": "true"}
    )
    assert "transcript.text.segment" not in plain.text

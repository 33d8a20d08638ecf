"""Speakers in a run: every clip is heard, and the transcript is cut where the speaker changes."""

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from auricle.errors import InvalidOption, UnsupportedOption
from auricle.jobs.parts import pack_parts, unpack_parts
from auricle.pipeline.checkpoint import FROM_THE_START, Checkpoint, ClipResult
from auricle.pipeline.diarize import MAX_SPEAKERS, check_diarization
from auricle.pipeline.transcriber import Transcriber
from auricle.speaker_types import Diarization, Turn
from auricle.types import Clip, ClipDone, RequestInfo, Timings, TranscribeOptions, Transcript
from one_engine import OneEngine
from samples import load_sample

SHORT_CLIPS = replace(TranscribeOptions().vad_options, max_clip_s=6.0)
MODES = {
    "packed": TranscribeOptions(vad_options=SHORT_CLIPS, diarization=Diarization()),
    "sequential": TranscribeOptions(vad=False, vad_options=SHORT_CLIPS, diarization=Diarization()),
}
BROKEN_AFTER = {"packed": 5, "sequential": 2}
"""Rows, some of which are detections of the language."""
TURNS = [Turn(start=start, end=start + 3.5, speaker="AB"[start // 7 % 2]) for start in range(0, 60, 7)]


@dataclass
class Alternating:
    """Two speakers who take turns whatever is said; notes what it hears."""

    heard: list[Clip] = field(default_factory=list)
    asked: list[Diarization] = field(default_factory=list)
    fails_at: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def feed(self, clip: Clip) -> None:
        assert self._lock.acquire(blocking=False), "used by two threads at once"
        self.heard.append(clip)
        self._lock.release()
        if self.fails_at == clip.index:
            raise InterruptedError("the ear fell off")

    def finish(self, asked: Diarization) -> list[Turn]:
        self.asked.append(asked)
        return TURNS


@pytest.fixture(scope="module")
def minute() -> Path:
    return load_sample("08_en_60s").path


async def stream(
    source: Path,
    options: TranscribeOptions,
    diarizer: Alternating | None,
    *,
    engine: OneEngine | None = None,
    checkpoint: Checkpoint = FROM_THE_START,
) -> tuple[list[ClipDone], Transcript]:
    transcriber = Transcriber(
        cast("Any", engine or OneEngine()),
        max_windows_in_flight=2,
        max_audio_s=None,
        make_diarizer=None if diarizer is None else lambda: diarizer,
    )
    parts = transcriber.stream(source, options, model=None, request=RequestInfo(request_id="r"), checkpoint=checkpoint)
    *clips, last = [part async for part in parts]
    assert isinstance(last, Transcript)
    return [clip for clip in clips if isinstance(clip, ClipDone)], last


@pytest.mark.parametrize("mode", MODES)
async def test_the_transcript_is_the_same_but_for_speakers_and_cuts(minute: Path, mode: str) -> None:
    options = MODES[mode]
    _, plain = await stream(minute, replace(options, diarization=None, word_timestamps=True), None)
    diarizer = Alternating()
    parts, found = await stream(minute, options, diarizer)
    assert found.text == plain.text
    assert [replace(word, speaker=None) for word in found.words] == list(plain.words)
    assert {segment.speaker for segment in found.segments} == {"A", "B"}
    assert len(found.segments) > len(plain.segments)
    assert [segment.id for segment in found.segments] == list(range(len(found.segments)))
    assert [token for segment in found.segments for token in segment.tokens] == [
        token for segment in plain.segments for token in segment.tokens
    ]
    assert "".join(segment.text for part in parts for segment in part.segments).strip() == plain.text
    assert all(segment.speaker is None for part in parts for segment in part.segments)
    assert diarizer.asked == [options.diarization]
    assert found.timings.diarization > 0
    assert plain.timings.diarization == 0


async def test_all_speech_is_heard_once_in_both_modes(minute: Path) -> None:
    heard: list[list[Any]] = []
    for options in MODES.values():
        diarizer = Alternating()
        await stream(minute, options, diarizer)
        assert [clip.index for clip in diarizer.heard] == list(range(len(diarizer.heard)))
        heard.append([clip.pieces for clip in diarizer.heard])
    assert len(heard[0]) > 5
    assert heard[0] == heard[1]


@pytest.mark.parametrize("mode", MODES)
async def test_a_run_that_is_taken_up_hears_everything_and_decodes_nothing_twice(minute: Path, mode: str) -> None:
    _, expected = await stream(minute, MODES[mode], Alternating())
    saved: dict[int, ClipResult] = {}
    with pytest.raises(InterruptedError):
        await stream(
            minute,
            MODES[mode],
            Alternating(),
            engine=OneEngine(fails_after=BROKEN_AFTER[mode]),
            checkpoint=Checkpoint(save=saved.__setitem__),
        )
    assert saved
    done = unpack_parts(dict(pack_parts(list(saved.items()))))
    diarizer, engine, whole = Alternating(), OneEngine(), OneEngine()
    _, found = await stream(minute, MODES[mode], diarizer, engine=engine, checkpoint=Checkpoint(done=done))
    await stream(minute, MODES[mode], Alternating(), engine=whole)
    assert replace(found, timings=Timings()) == replace(expected, timings=Timings())
    assert engine.decoded() == whole.decoded() - sum(len(result.windows) for result in saved.values())
    assert [clip.index for clip in diarizer.heard] == list(range(len(diarizer.heard)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fails_at", [0, 3])
async def test_a_diarizer_that_fails_ends_the_run(minute: Path, mode: str, fails_at: int) -> None:
    with pytest.raises(InterruptedError, match="the ear fell off"):
        await stream(minute, MODES[mode], Alternating(fails_at=fails_at))


async def test_a_failure_at_the_last_clip_is_not_overlooked(minute: Path) -> None:
    diarizer = Alternating()
    await stream(minute, MODES["packed"], diarizer)
    with pytest.raises(InterruptedError, match="the ear fell off"):
        await stream(minute, MODES["packed"], Alternating(fails_at=len(diarizer.heard) - 1))


async def test_silence_has_no_speakers() -> None:
    diarizer = Alternating()
    _, found = await stream(load_sample("10_silence").path, MODES["packed"], diarizer)
    assert (found.segments, diarizer.heard) == ((), [])


async def test_speakers_are_refused_where_they_are_not_told_apart(minute: Path) -> None:
    engine = OneEngine()
    with pytest.raises(UnsupportedOption, match="AURICLE_DIARIZATION"):
        await stream(minute, MODES["packed"], None, engine=engine)
    assert engine.rows == []


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        (Diarization(num_speakers=0), "num_speakers"),
        (Diarization(num_speakers=MAX_SPEAKERS + 1), "num_speakers"),
        (Diarization(min_speakers=-1), "min_speakers"),
        (Diarization(max_speakers=1000), "max_speakers"),
        (Diarization(min_speakers=3, max_speakers=2), "min_speakers"),
        (Diarization(num_speakers=2, max_speakers=2), "num_speakers"),
    ],
)
def test_numbers_of_speakers_that_cannot_be_met_are_refused(asked: Diarization, param: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        check_diarization(asked)
    assert caught.value.param == param


def test_numbers_of_speakers_that_can_be_met_are_taken() -> None:
    for asked in (Diarization(), Diarization(num_speakers=1), Diarization(min_speakers=2, max_speakers=2)):
        assert check_diarization(asked) == asked

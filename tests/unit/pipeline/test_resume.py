"""A run that broke off is taken up: the transcript is the same, and no window is decoded that is done already."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from auricle.jobs.parts import pack_parts, unpack_parts
from auricle.pipeline.checkpoint import FROM_THE_START, Checkpoint, ClipResult
from auricle.pipeline.reader import RollingAudio
from auricle.pipeline.transcriber import Transcriber
from auricle.types import RequestInfo, Timings, TranscribeOptions, Transcript
from one_engine import OneEngine
from samples import load_sample

MODES = {
    "packed": TranscribeOptions(word_timestamps=True, logprobs=True),
    "packed_small": replace(
        TranscribeOptions(prompt="Hello."), vad_options=replace(TranscribeOptions().vad_options, max_clip_s=6.0)
    ),
    "sequential": TranscribeOptions(vad=False),
    "conditioned": TranscribeOptions(vad=False, condition_on_previous_text=True, prompt="Hello."),
    "per_window": TranscribeOptions(vad=False, language_per_window=True),
}


@pytest.fixture(scope="module")
def minute() -> Path:
    return load_sample("08_en_60s").path


async def transcribe(
    engine: OneEngine, source: Path, options: TranscribeOptions, checkpoint: Checkpoint = FROM_THE_START
) -> Transcript:
    transcriber = Transcriber(cast("Any", engine), max_windows_in_flight=2, max_audio_s=None)
    parts = transcriber.stream(source, options, model=None, request=RequestInfo(request_id="r"), checkpoint=checkpoint)
    last = [part async for part in parts][-1]
    assert isinstance(last, Transcript)
    return replace(last, timings=Timings())


def through_the_store(saved: dict[int, ClipResult]) -> dict[int, ClipResult]:
    return unpack_parts(dict(pack_parts(list(saved.items()))))


@pytest.mark.parametrize("mode", MODES)
async def test_broken_off_anywhere_the_transcript_is_that_of_an_unbroken_run(minute: Path, mode: str) -> None:
    whole = OneEngine()
    expected = await transcribe(whole, minute, MODES[mode])
    assert expected.text
    rows = len(whole.rows)
    for broken_after in sorted({1, min(3, rows - 1), rows // 2, rows - 1}):
        saved: dict[int, ClipResult] = {}
        first = OneEngine(fails_after=broken_after)
        with pytest.raises(InterruptedError):
            await transcribe(first, minute, MODES[mode], Checkpoint(save=saved.__setitem__))
        done = through_the_store(saved)
        assert done == saved
        second = OneEngine()
        again: dict[int, ClipResult] = {}
        found = await transcribe(second, minute, MODES[mode], Checkpoint(done=done, save=again.__setitem__))
        assert found == expected
        windows_saved = sum(len(result.windows) for result in saved.values())
        assert second.decoded() == whole.decoded() - windows_saved
        assert not set(again) & set(saved)


async def test_a_run_that_is_broken_off_with_every_clip_ends_with_the_same_transcript(minute: Path) -> None:
    options = MODES["packed_small"]
    whole = OneEngine()
    expected = await transcribe(whole, minute, options)
    saved: dict[int, ClipResult] = {}
    decoded, runs = 0, 0
    while True:
        runs += 1
        # Room for the detection of the language, and for one more window.
        engine = OneEngine(fails_after=(3 if not saved else 0) + 1)
        try:
            found = await transcribe(
                engine, minute, options, Checkpoint(done=through_the_store(saved), save=saved.__setitem__)
            )
        except InterruptedError:
            decoded += engine.decoded()
        else:
            decoded += engine.decoded()
            break
        assert runs < 50
    assert found == expected
    assert runs > 3
    assert decoded == whole.decoded()


async def test_a_part_of_other_audio_is_not_used(minute: Path) -> None:
    options = MODES["packed_small"]
    expected = await transcribe(OneEngine(), minute, options)
    saved: dict[int, ClipResult] = {}
    await transcribe(OneEngine(), load_sample("09_en_20s_layout").path, options, Checkpoint(save=saved.__setitem__))
    engine = OneEngine()
    found = await transcribe(engine, minute, options, Checkpoint(done={0: saved[0]}))
    assert engine.decoded() > 0
    assert found.text == expected.text


async def test_the_beginning_of_a_file_that_is_skipped_does_not_fill_the_memory() -> None:
    block = np.ones(1000, np.float32)
    seen: list[int] = []

    async def blocks():
        for _ in range(500):
            seen.append(len(audio._kept))
            yield block

    audio = RollingAudio(blocks())
    before, samples, after = await audio.read(400_000, 2000, 100)
    assert (len(before), len(samples), len(after)) == (100, 2000, 100)
    assert max(seen) <= 4000
    assert audio._start == 399_900

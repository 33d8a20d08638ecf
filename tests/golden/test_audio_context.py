"""Short contexts: as few errors as with the full one, and the full one's text where they look wrong."""

from pathlib import Path

import numpy as np
import pytest

from auricle.audio.decode import decode_audio
from auricle.runtime import Runtime
from auricle.types import RequestInfo, TranscribeOptions, Transcript
from samples import NAMES, load_sample, write_wav
from scoring import normalize, word_error_rate

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHORT = ["01_en_slt", "02_en_rms", "04_de", "05_fr", "06_es", "07_en_human_digits"]
SURE = {"temperatures": (0.0,)}
"""Hotter tries draw their words by chance."""
LAYOUTS = ["08_en_60s", "09_en_20s_layout", "12_en_then_de"]


async def transcribe(runtime: Runtime, path: Path, **options) -> Transcript:
    return await runtime.transcriber.run(
        path, TranscribeOptions(**options), model=None, request=RequestInfo(request_id=path.name)
    )


async def test_short_contexts_make_no_more_errors_in_whole_files(runtime: Runtime):
    pairs = {"full": [], "auto": []}
    for name in NAMES:
        for context, found in pairs.items():
            text = (await transcribe(runtime, load_sample(name).path, audio_context=context, **SURE)).text
            found.append((load_sample(name).text, text))
    # One word of the 229 may fall the other way.
    assert word_error_rate(pairs["auto"]) <= word_error_rate(pairs["full"]) + 0.005


async def test_short_contexts_make_no_more_errors_in_single_utterances(runtime: Runtime, tmp_path: Path):
    pairs = {"full": [], "auto": []}
    for name in LAYOUTS:
        samples = np.concatenate(list(decode_audio(load_sample(name).path)))
        for n, utterance in enumerate(load_sample(name).layout):
            start, end = (round(utterance[edge] * 16_000) for edge in ("start", "end"))
            path = write_wav(tmp_path / f"{name}-{n}.wav", samples[max(0, start - 3200) : end + 3200])
            for context, found in pairs.items():
                text = (await transcribe(runtime, path, audio_context=context, beam_size=1, **SURE)).text
                found.append((utterance["text"], text))
    assert len(pairs["auto"]) >= 20
    assert word_error_rate(pairs["auto"]) <= word_error_rate(pairs["full"]) + 0.02


@pytest.mark.parametrize("name", SHORT)
async def test_languages_are_told_apart_with_a_short_context(runtime: Runtime, name: str):
    found = await transcribe(runtime, load_sample(name).path, audio_context="auto")
    assert found.language == name.split("_")[1]
    assert found.text


async def test_a_window_that_looks_wrong_is_done_again_in_full_and_counted(runtime: Runtime):
    path = load_sample("02_en_rms").path
    # No text is as probable as that, so every try fails, and the most probable one in full stands.
    options = {"logprob_threshold": 0.0, "no_speech_threshold": None, "temperatures": (0.0,), "beam_size": 1}
    full = await transcribe(runtime, path, **options)
    auto = await transcribe(runtime, path, audio_context="auto", **options)
    assert auto.text == full.text
    assert (full.timings.fallbacks, auto.timings.fallbacks) == (0, 1)


async def test_words_have_their_times_with_a_short_context(runtime: Runtime):
    path = load_sample("01_en_slt").path
    full = await transcribe(runtime, path, word_timestamps=True)
    auto = await transcribe(runtime, path, word_timestamps=True, audio_context="auto")
    assert [normalize(word.word) for word in auto.words] == [normalize(word.word) for word in full.words]
    off = [abs(a.start - f.start) for a, f in zip(auto.words, full.words, strict=True)]
    assert np.median(off) <= 0.06


@pytest.mark.parametrize("name", ["10_silence", "11_noise"])
async def test_silence_stays_silent_with_a_short_context(runtime: Runtime, name: str):
    assert (await transcribe(runtime, load_sample(name).path, audio_context="auto")).text == ""

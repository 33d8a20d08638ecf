"""What comes out for real recordings: texts, times, silence."""

import asyncio
from itertools import pairwise

import numpy as np
import pytest

from auricle.audio.decode import decode_audio
from auricle.runtime import Runtime
from auricle.types import RequestInfo, TranscribeOptions, Transcript
from samples import NAMES, load_sample, write_wav
from scoring import normalize, word_error_rate, word_errors

pytestmark = pytest.mark.asyncio(loop_scope="session")

LAYOUTS = ["08_en_60s", "09_en_20s_layout", "12_en_then_de"]


async def transcribe(runtime: Runtime, name: str, **options) -> Transcript:
    return await runtime.transcriber.run(
        load_sample(name).path, TranscribeOptions(**options), model=None, request=RequestInfo(request_id=name)
    )


async def test_the_samples_are_understood(runtime: Runtime):
    transcripts = [await transcribe(runtime, name) for name in NAMES]
    pairs = [(load_sample(name).text, found.text) for name, found in zip(NAMES, transcripts, strict=True)]
    assert word_error_rate(pairs) < 0.12
    by_name = dict(zip(NAMES, transcripts, strict=True))
    for name in ("01_en_slt", "04_de", "05_fr", "06_es", "07_en_human_digits"):
        assert normalize(by_name[name].text) == normalize(load_sample(name).text)
    assert [by_name[name].language for name in ("01_en_slt", "04_de", "05_fr", "06_es")] == ["en", "de", "fr", "es"]


@pytest.mark.parametrize("vad", [True, False])
@pytest.mark.parametrize("name", ["10_silence", "11_noise"])
async def test_silence_and_noise_give_no_words_and_say_why(runtime: Runtime, name: str, vad: bool):
    found = await transcribe(runtime, name, vad=vad)
    assert (found.text, found.segments) == ("", ())
    assert [(span.start, span.end) for span in found.dropped] == [(0.0, 10.0)]
    assert found.duration == pytest.approx(10.0)


@pytest.mark.parametrize("vad", [True, False])
async def test_words_are_within_300_ms_of_where_they_were_spoken(runtime: Runtime, vad: bool):
    errors: list[float] = []
    for name in LAYOUTS:
        words = (await transcribe(runtime, name, vad=vad, word_timestamps=True)).words
        for utterance in load_sample(name).layout:
            spoken = normalize(utterance["text"]).split()
            for text, edge in ((spoken[0], "start"), (spoken[-1], "end")):
                off = [abs(getattr(w, edge) - utterance[edge]) for w in words if normalize(w.word) == text]
                # A word that was not understood has no time to be judged by.
                if off and min(off) < 2.0:
                    errors.append(min(off))
    assert len(errors) >= 45
    assert np.mean(np.array(errors) <= 0.3) >= 0.9
    assert np.median(errors) < 0.05


@pytest.mark.parametrize("vad", [True, False])
async def test_words_spell_their_segment_in_order_and_inside_it(runtime: Runtime, vad: bool):
    for name in LAYOUTS:
        found = await transcribe(runtime, name, vad=vad, word_timestamps=True)
        for segment in found.segments:
            assert segment.words
            assert "".join(word.word for word in segment.words) == segment.text
            assert segment.start <= segment.words[0].start
            assert segment.words[-1].end <= segment.end
        for earlier, later in pairwise(found.words):
            assert earlier.start <= earlier.end <= later.start


async def test_asking_for_words_changes_no_text(runtime: Runtime):
    for name in LAYOUTS:
        with_words = await transcribe(runtime, name, word_timestamps=True)
        assert with_words.text == (await transcribe(runtime, name)).text


async def test_log_probabilities_belong_to_the_tokens_of_the_text(runtime: Runtime):
    found = await transcribe(runtime, "01_en_slt", logprobs=True)
    tokens = [token for segment in found.segments for token in segment.logprobs or ()]
    assert "".join(token.token for token in tokens).strip() == found.text
    assert b"".join(bytes(token.bytes) for token in tokens).decode().strip() == found.text
    assert all(token.logprob <= 0 for token in tokens)
    assert np.mean([token.logprob for token in tokens]) > -0.5


async def test_speech_of_another_language_is_translated(runtime: Runtime):
    found = await transcribe(runtime, "04_de", task="translate")
    # Which thing is to be brought is beyond nano; that it is English and the same request is not.
    assert normalize(found.text).startswith("please bring the")
    assert found.language == "de"


async def test_languages_restrict_the_detection(runtime: Runtime):
    found = await transcribe(runtime, "05_fr", languages=("de", "es"))
    assert found.language in {"de", "es"}


async def test_each_window_may_have_its_own_language(runtime: Runtime):
    found = await transcribe(runtime, "12_en_then_de", language_per_window=True)
    assert "Das Flugzeug" in found.text


async def test_sixteen_requests_at_once_give_the_texts_that_each_gives_alone(runtime: Runtime):
    names = (NAMES * 2)[:16]
    alone = [await transcribe(runtime, name) for name in names]
    together = await asyncio.gather(*(transcribe(runtime, name) for name in names))
    assert [found.text for found in together] == [found.text for found in alone]
    assert max(found.timings.max_batch for found in together) > 1
    assert max(found.timings.max_batch for found in alone[:3]) == 1


async def test_a_shift_of_the_audio_shifts_the_times_and_nothing_else(runtime: Runtime, tmp_path):
    plain = await transcribe(runtime, "09_en_20s_layout")
    samples = np.concatenate(list(decode_audio(load_sample("09_en_20s_layout").path)))
    shifted = tmp_path / "shifted.wav"
    # A multiple of 512 samples, the step in which speech is looked for.
    write_wav(shifted, np.concatenate([np.zeros(512 * 1250, np.float32), samples]))
    found = await runtime.transcriber.run(
        shifted, TranscribeOptions(), model=None, request=RequestInfo(request_id="shifted")
    )
    assert word_errors(plain.text, found.text)[0] <= 3  # a frame more or less of silence sways words out of context
    off = [later.start - earlier.start - 40.0 for earlier, later in zip(plain.segments, found.segments, strict=True)]
    assert max(map(abs, off)) <= 0.1


@pytest.mark.parametrize("milliseconds", [0, 1, 50])
async def test_next_to_no_audio_gives_an_empty_transcript(runtime: Runtime, tmp_path, milliseconds: int):
    path = tmp_path / "short.wav"
    write_wav(path, np.full(16 * milliseconds, 0.1, np.float32))
    for vad in (True, False):
        found = await runtime.transcriber.run(
            path, TranscribeOptions(vad=vad), model=None, request=RequestInfo(request_id="short")
        )
        assert (found.text, found.duration) == ("", milliseconds / 1000)

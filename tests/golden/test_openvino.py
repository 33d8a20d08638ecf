"""The OpenVINO engine through the whole pipeline: the texts of CTranslate2 where both are exact, and as few errors by
default.
"""

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from auricle.config import Settings
from auricle.runtime import Runtime, open_runtime
from auricle.types import RequestInfo, TranscribeOptions, Transcript
from samples import NAMES, load_sample
from scoring import word_error_rate

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def exact() -> AsyncGenerator[Runtime, None]:
    opened = open_runtime(Settings(model="nano", engine="openvino", compute_type="float32", engine_cache_max_mb=0))
    yield opened
    await opened.close()


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def default() -> AsyncGenerator[Runtime, None]:
    opened = open_runtime(Settings(model="nano", engine="openvino", engine_cache_max_mb=0))
    yield opened
    await opened.close()


async def transcribe(runtime: Runtime, name: str, **options) -> Transcript:
    return await runtime.transcriber.run(
        load_sample(name).path, TranscribeOptions(**options), model=None, request=RequestInfo(request_id=name)
    )


async def test_texts_and_word_times_are_those_of_ctranslate2(runtime: Runtime, exact: Runtime):
    for name in NAMES:
        theirs = await transcribe(runtime, name, word_timestamps=True, temperatures=(0.0,))
        ours = await transcribe(exact, name, word_timestamps=True, temperatures=(0.0,))
        assert ours.text == theirs.text
        for word, other in zip(ours.words, theirs.words, strict=True):
            assert abs(word.start - other.start) <= 0.1
            assert abs(word.end - other.end) <= 0.1
            assert abs(word.probability - other.probability) <= 0.05


@pytest.mark.parametrize("beam_size", [1, 5])
async def test_repeats_are_discouraged_as_by_ctranslate2(runtime: Runtime, exact: Runtime, beam_size: int):
    plain = {"temperatures": (0.0,), "beam_size": beam_size}
    changed: dict[str, int] = {}
    for name in NAMES:
        free = (await transcribe(runtime, name, **plain)).text
        for asked in ({"repetition_penalty": 1.3}, {"no_repeat_ngram_size": 2}):
            theirs = await transcribe(runtime, name, **plain, **asked)
            ours = await transcribe(exact, name, **plain, **asked)
            assert ours.text == theirs.text
            (option,) = asked
            changed[option] = changed.get(option, 0) + (theirs.text != free)
    assert all(changed.values())


async def test_eight_bit_weights_make_hardly_more_errors(runtime: Runtime, default: Runtime):
    theirs = [(load_sample(name).text, (await transcribe(runtime, name)).text) for name in NAMES]
    ours = [(load_sample(name).text, (await transcribe(default, name)).text) for name in NAMES]
    # Two of 229 words: nano's random ones tip over at the slightest rounding.
    assert word_error_rate(ours) <= word_error_rate(theirs) + 0.01

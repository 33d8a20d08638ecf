"""In float32 every engine gives the answers of CTranslate2 on the samples; see ``engine_under_test.EXACT``."""

from collections.abc import AsyncIterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from engine_under_test import CLIPS, EXACT, NANO, PACKAGES, SAMPLES, EngineUnderTest, config_of

from auricle.batching.replica import Replica
from auricle.tokenizer import Tokenizer
from auricle.types import Decoding

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEEPS_ATTENTION = ("torch",)
"""Engines that time words by what was attended to while they were decoded: their times are not quite those of a second
look at the text alone, which is what the reference takes."""
RECORDINGS = sorted(path.name for path in SAMPLES.iterdir() if path.suffix in {".wav", ".flac"})


async def start(name: str, **changes: Any) -> EngineUnderTest:
    replica = Replica(config_of(name, **changes))
    info = await replica.start()
    assert info.compute_type == "float32"
    return EngineUnderTest(replica=replica, info=info, tokenizer=Tokenizer(NANO))


@pytest.fixture(params=EXACT, scope="module")
def exact_name(request: pytest.FixtureRequest) -> str:
    if find_spec(PACKAGES[request.param]) is None:
        pytest.skip(f"{PACKAGES[request.param]} is not installed")
    return request.param


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def exact(exact_name: str) -> AsyncIterator[EngineUnderTest]:
    engine = await start(exact_name)
    yield engine
    await engine.replica.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reference() -> AsyncIterator[EngineUnderTest]:
    engine = await start("ct2", compute_type="float32")
    yield engine
    await engine.replica.close()


async def both(reference: EngineUnderTest, exact: EngineUnderTest, **options: Any) -> list[tuple[Decoding, Decoding]]:
    """Their answers for the first window of each sample, as long a window as ``exact`` is tried with."""
    found: list[list[Decoding]] = []
    for engine in (reference, exact):
        rows = [engine.row(name, context_frames=exact.window_frames, **options) for name in RECORDINGS]
        step = engine.info.max_batch
        batches = [await engine.decode(*rows[first : first + step]) for first in range(0, len(rows), step)]
        found.append([decoding for batch in batches for decoding in batch])
    return list(zip(*found, strict=True))


@pytest.mark.parametrize("without_timestamps", [False, True], ids=["timestamps", "plain"])
@pytest.mark.parametrize("beam_size", [1, 5], ids=["greedy", "beams"])
async def test_texts_and_timestamps_are_the_same(
    reference: EngineUnderTest, exact: EngineUnderTest, beam_size: int, without_timestamps: bool
):
    pairs = await both(reference, exact, beam_size=beam_size, without_timestamps=without_timestamps)
    assert any(theirs.tokens for theirs, _ in pairs)
    for name, (theirs, ours) in zip(RECORDINGS, pairs, strict=True):
        assert ours.tokens == theirs.tokens, name
        assert ours.avg_logprob == pytest.approx(theirs.avg_logprob, abs=1e-3), name
        assert ours.no_speech_prob == pytest.approx(theirs.no_speech_prob, abs=1e-3), name


async def test_words_are_within_a_tenth_of_a_second(
    reference: EngineUnderTest, exact: EngineUnderTest, exact_name: str
):
    if exact_name in KEEPS_ATTENTION:
        pytest.skip("it aligns the text with its timestamps among it")
    for name, (theirs, ours) in zip(RECORDINGS, await both(reference, exact, word_timestamps=True), strict=True):
        assert theirs.token_times is not None
        assert ours.token_times is not None
        assert len(ours.token_times) == len(theirs.token_times)
        for times, their_times in zip(ours.token_times, theirs.token_times, strict=True):
            assert times == pytest.approx(their_times, abs=0.1), name
        assert ours.token_probabilities == pytest.approx(theirs.token_probabilities, abs=0.01), name


async def test_words_that_are_timed_while_they_are_decoded_are_mostly_within_a_tenth_of_a_second(
    reference: EngineUnderTest, exact: EngineUnderTest, exact_name: str
):
    if exact_name not in KEEPS_ATTENTION:
        pytest.skip("it aligns the text alone, as the reference does")
    late: list[float] = []
    surer: list[float] = []
    for theirs, ours in await both(reference, exact, word_timestamps=True):
        assert theirs.token_times is not None
        assert ours.token_times is not None
        assert theirs.token_probabilities is not None
        assert ours.token_probabilities is not None
        for own, other in zip(ours.token_times, theirs.token_times, strict=True):
            late += [abs(one - two) for one, two in zip(own, other, strict=True)]
        pairs = zip(ours.token_probabilities, theirs.token_probabilities, strict=True)
        surer += [abs(one - two) for one, two in pairs]
    # The others are ends of sentences, where nothing is said, and words that the model does not believe in.
    assert np.mean(np.array(late) <= 0.1) >= 0.9
    assert np.mean(surer) <= 0.05


async def test_engines_that_draw_by_the_audio_draw_the_same(exact: EngineUnderTest, exact_name: str):
    if exact_name == "openvino":
        pytest.skip("the others are compared with it")
    pytest.importorskip("openvino")
    other = await start("openvino")
    rows = [exact.row(clip, context_frames=exact.window_frames, temperature=1.0, best_of=2) for clip in CLIPS]
    ours, theirs = [await engine.decode(*rows) for engine in (exact, other)]
    await other.replica.close()
    assert [decoding.tokens for decoding in ours] == [decoding.tokens for decoding in theirs]


async def test_languages_are_as_probable(reference: EngineUnderTest, exact: EngineUnderTest):
    for name, (theirs, ours) in zip(RECORDINGS, await both(reference, exact, task="detect_language"), strict=True):
        assert dict(ours.language_probabilities) == pytest.approx(dict(theirs.language_probabilities), abs=1e-2), name

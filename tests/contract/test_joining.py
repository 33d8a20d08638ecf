"""Rows that come and leave at any time, in any order: through the real process of every engine."""

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from benchmarks.occupancy import measure_occupancy, mixed_rows, with_features
from engine_under_test import CLIPS, NANO, SAMPLES, EngineUnderTest, config_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auricle.audio.decode import decode_audio
from auricle.engines.base import slots_of
from auricle.tokenizer import Tokenizer
from auricle.types import Decoding, DecodingOptions, Row

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAUSE_S = 0.004
VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"word_timestamps": True},
    {"beam_size": 3},
    {"without_timestamps": True},
    {"task": "detect_language"},
    {"max_new_tokens": 3},
)


@dataclass(frozen=True)
class Call:
    """A row that somebody asks for, so many pauses after the one before; who leaves does so after as many pauses."""

    clip: int
    variant: int
    after: int
    leaves: int | None


calls = st.lists(
    st.builds(
        Call,
        clip=st.integers(0, len(CLIPS) - 1),
        variant=st.integers(0, len(VARIANTS) - 1),
        after=st.integers(0, 3),
        leaves=st.one_of(st.none(), st.none(), st.integers(0, 5)),
    ),
    min_size=1,
    max_size=8,
)


class Alone:
    """What each row is answered when nothing else is in the engine."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, int, int], Decoding] = {}

    async def answer(self, engine: EngineUnderTest, engine_name: str, call: Call) -> Decoding:
        key = (engine_name, call.clip, call.variant)
        if key not in self._answers:
            (self._answers[key],) = await engine.decode(row_of(engine, call, "alone"))
        return self._answers[key]


ALONE = Alone()


def row_of(engine: EngineUnderTest, call: Call, name: str) -> Row:
    return engine.row(CLIPS[call.clip], key=f"{name} {call.clip}", **VARIANTS[call.variant])


def assert_same(found: Decoding, expected: Decoding) -> None:
    assert found.tokens == expected.tokens
    assert found.avg_logprob == pytest.approx(expected.avg_logprob, abs=1e-2)
    assert found.no_speech_prob == pytest.approx(expected.no_speech_prob, abs=1e-2)
    assert [code for code, _ in found.language_probabilities[:1]] == [
        code for code, _ in expected.language_probabilities[:1]
    ]
    assert dict(found.language_probabilities) == pytest.approx(dict(expected.language_probabilities), abs=1e-2)
    assert (found.token_times is None) == (expected.token_times is None)
    if found.token_times is not None and expected.token_times is not None:
        np.testing.assert_allclose(found.token_times, expected.token_times, atol=0.1)


async def come_and_leave(engine: EngineUnderTest, engine_name: str, asked: list[Call]) -> None:
    """Each row must have the answer that it has alone, whoever comes and leaves meanwhile."""
    expected = [await ALONE.answer(engine, engine_name, call) for call in asked]
    tasks: list[asyncio.Task[list[Decoding]]] = []
    leaving: list[asyncio.Task[None]] = []

    async def leave(task: "asyncio.Task[list[Decoding]]", pauses: int) -> None:
        await asyncio.sleep(pauses * PAUSE_S)
        task.cancel()

    for number, call in enumerate(asked):
        await asyncio.sleep(call.after * PAUSE_S)
        tasks.append(asyncio.create_task(engine.decode(row_of(engine, call, f"together {number}"))))
        if call.leaves is not None:
            leaving.append(asyncio.create_task(leave(tasks[-1], call.leaves)))
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(*leaving)
    for call, answer, alone in zip(asked, answers, expected, strict=True):
        if isinstance(answer, list):
            assert_same(answer[0], alone)
        else:
            assert isinstance(answer, asyncio.CancelledError)
            assert call.leaves is not None


RARELY = settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@RARELY
@given(asked=calls)
async def test_rows_come_and_leave_in_any_order(engine: EngineUnderTest, engine_name: str, asked: list[Call]):
    await come_and_leave(engine, engine_name, asked)


@settings(RARELY, max_examples=20)
@given(asked=calls)
async def test_rows_join_and_leave_slots_in_any_order(engine: EngineUnderTest, engine_name: str, asked: list[Call]):
    if not engine.info.joins:
        pytest.skip("its rows do not join")
    await come_and_leave(engine, engine_name, asked)


async def test_rows_of_every_kind_share_the_slots(engine: EngineUnderTest):
    if not engine.info.joins:
        pytest.skip("its rows do not join")
    kinds = [Call(clip=clip, variant=variant, after=0, leaves=None) for clip in (0, 1) for variant in range(6)]
    together = await engine.decode(*(row_of(engine, call, f"kind {n}") for n, call in enumerate(kinds)))
    for n, call in enumerate(kinds):
        (alone,) = await engine.decode(row_of(engine, call, f"kind alone {n}"))
        assert_same(together[n], alone)


async def test_all_slots_are_free_again_after_callers_have_left(engine: EngineUnderTest):
    if not engine.info.joins:
        pytest.skip("its rows do not join")
    width = max(1, engine.info.max_batch // 2)
    options = DecodingOptions(beam_size=width)
    assert slots_of(options) == width
    for number in range(6):
        task = asyncio.create_task(engine.decode(engine.row(CLIPS[0], key=f"left {number}", beam_size=width)))
        await asyncio.sleep(number * PAUSE_S)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await asyncio.gather(*(engine.decode(engine.row(CLIPS[1], key=f"after {n}", beam_size=width)) for n in range(2)))


async def test_slots_stay_full_while_rows_of_every_kind_wait(engine: EngineUnderTest, engine_name: str):
    if not engine.info.joins:
        pytest.skip("its rows do not join")
    speech = np.concatenate([next(decode_audio(SAMPLES / clip)) for clip in CLIPS] * 3)
    delayed = {"options": {"joins": "true", "step_delay_s": "0.01"}, "device": "cuda"}
    changes, count = (delayed, 160) if engine_name.startswith("fake") else ({}, 72)
    found = await measure_occupancy(
        config_of(engine_name, max_batch=16, **changes),
        lambda info: mixed_rows(speech, Tokenizer(NANO), with_features(info), count=count),
    )
    assert found.steps > 50
    assert found.share >= 0.85

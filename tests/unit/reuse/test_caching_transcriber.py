"""Requests that share work: what they get, and when the work ends. The transcriber below is scripted."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest

from auricle.batching.metrics import Metrics
from auricle.errors import Busy, CorruptAudio, DeadlineExceeded
from auricle.pipeline.checkpoint import Checkpoint
from auricle.reuse.request import Outcome, Policy, Reuse
from auricle.reuse.result_cache import ResultCache
from auricle.reuse.transcriber import CachingTranscriber
from auricle.store.opening import open_transcripts
from auricle.types import (
    ClipDone,
    Priority,
    RequestInfo,
    Segment,
    TokenLogprob,
    TranscribeOptions,
    Transcript,
    Word,
)

OPTIONS = TranscribeOptions()
RICH = TranscribeOptions(word_timestamps=True, logprobs=True)


class Script:
    """Gives two clips and the transcript; waits for ``go`` between the clips."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.between = asyncio.Event()
        self.error: Exception | None = None
        self.runs: list[RequestInfo] = []
        self.ended = 0
        self.changed = asyncio.Event()

    async def stream(
        self,
        source: object,
        options: TranscribeOptions,
        *,
        model: str | None,
        request: RequestInfo,
        checkpoint: Checkpoint,
    ) -> AsyncGenerator[ClipDone | Transcript, None]:
        self.runs.append(request)
        self.changed.set()
        segments = [segment(index, options) for index in range(2)]
        try:
            yield ClipDone(start=0.0, end=1.0, segments=(segments[0],))
            self.between.set()
            await self.go.wait()
            if self.error is not None:
                raise self.error
            yield ClipDone(start=1.0, end=2.0, segments=(segments[1],))
            yield Transcript(text="one two", segments=tuple(segments), language="en", duration=2.0)
        finally:
            self.ended += 1
            self.changed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()


def segment(index: int, options: TranscribeOptions) -> Segment:
    text = (" one", " two")[index]
    word = Word(word=text, start=index, end=index + 1, probability=1.0)
    logprob = TokenLogprob(token=text, bytes=(1,), logprob=-0.5)
    return Segment(
        id=index,
        start=float(index),
        end=float(index + 1),
        text=text,
        words=(word,) if options.word_timestamps else None,
        logprobs=(logprob,) if options.logprobs else None,
    )


class Bench:
    """A caching transcriber around a script, and what its requests were told."""

    def __init__(self, folder: Path, *, grace_s: float = 0.0) -> None:
        self.script = Script()
        self.metrics = Metrics()
        self.kept = 0
        self.transcriber = CachingTranscriber(
            cast("Any", self.script),
            cache=ResultCache(lambda: open_transcripts(folder, max_age_s=3600, max_bytes=1 << 20)),
            identify=self._identify,
            metrics=self.metrics,
            grace_s=grace_s,
        )

    async def _identify(self, model: str | None) -> str:
        return model or "default"

    def ask(
        self,
        options: TranscribeOptions = OPTIONS,
        *,
        policy: Policy = "share",
        priority: Priority = Priority.INTERACTIVE,
        deadline: float | None = None,
        sha256: str = "a",
        model: str | None = None,
    ) -> "Asking":
        told: list[Outcome] = []
        reuse = Reuse(sha256=sha256, policy=policy, keep=self._keep, report=told.append)
        request = RequestInfo(request_id="r", priority=priority, deadline=deadline)
        run = self.transcriber.run(Path("audio"), options, model=model, request=request, reuse=reuse)
        return Asking(asyncio.create_task(run), told)

    def _keep(self) -> Any:
        self.kept += 1

        def release() -> None:
            self.kept -= 1

        return release

    def counts(self) -> tuple[float, float, float]:
        names = ("cache_hits", "cache_misses", "joined")
        values = (self.metrics.registry.get_sample_value(f"auricle_{name}_total") for name in names)
        return cast("tuple[float, float, float]", tuple(values))


class Asking:
    def __init__(self, task: asyncio.Task[Transcript], told: list[Outcome]) -> None:
        self.task = task
        self.told = told

    async def answer(self) -> tuple[Outcome, Transcript]:
        transcript = await self.task
        assert len(self.told) == 1
        return self.told[0], transcript

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.transcriber.close()
    assert bench.kept == 0
    assert bench.script.ended == len(bench.script.runs)


async def test_the_second_request_is_answered_without_a_run(bench: Bench) -> None:
    bench.script.go.set()
    outcome, first = await bench.ask().answer()
    assert outcome == "miss"
    outcome, second = await bench.ask().answer()
    assert outcome == "hit"
    assert second == first
    assert len(bench.script.runs) == 1
    assert bench.counts() == (1, 1, 0)


async def test_requests_at_once_share_a_run(bench: Bench) -> None:
    asked = [bench.ask() for _ in range(8)]
    await bench.script.between.wait()
    late = bench.ask()
    bench.script.go.set()
    answers = [await one.answer() for one in [*asked, late]]
    assert [outcome for outcome, _ in answers] == ["miss", *["joined"] * 8]
    assert {transcript.text for _, transcript in answers} == {"one two"}
    assert len(bench.script.runs) == 1
    assert bench.counts() == (0, 1, 8)


async def test_one_who_joins_late_gets_every_part(bench: Bench) -> None:
    first = bench.ask()
    await bench.script.between.wait()
    seen: list[str] = []
    progress: list[float] = []
    request = RequestInfo(request_id="r", on_progress=progress.append)
    parts = bench.transcriber.stream(Path("audio"), OPTIONS, model=None, request=request, reuse=Reuse(sha256="a"))
    async with aclosing(parts):
        async for part in parts:
            seen.append("".join(segment.text for segment in part.segments))
            bench.script.go.set()
    assert seen == [" one", " two", " one two"]
    assert progress == [1.0, 2.0]
    await first.answer()


async def test_those_who_share_a_run_share_its_error_and_the_next_one_tries_again(bench: Bench) -> None:
    bench.script.error = CorruptAudio("broken")
    asked = [bench.ask() for _ in range(3)]
    bench.script.go.set()
    for one in asked:
        with pytest.raises(CorruptAudio):
            await one.task
    bench.script.error = None
    assert (await bench.ask().answer())[0] == "miss"


@pytest.mark.parametrize("leaving", [0, 1])
async def test_one_who_leaves_does_not_hurt_the_other(bench: Bench, leaving: int) -> None:
    asked = [bench.ask(), bench.ask()]
    await bench.script.between.wait()
    await asked[leaving].leave()
    assert bench.kept == 1
    bench.script.go.set()
    _, transcript = await asked[1 - leaving].answer()
    assert transcript.text == "one two"
    assert len(bench.script.runs) == 1


async def test_a_run_ends_when_all_have_left(bench: Bench) -> None:
    asked = [bench.ask(), bench.ask()]
    await bench.script.between.wait()
    for one in asked:
        await one.leave()
    await bench.script.until(lambda: bench.script.ended)
    bench.script.go.set()
    assert (await bench.ask().answer())[0] == "miss"
    assert len(bench.script.runs) == 2


async def test_a_retry_finds_the_run_that_was_left(tmp_path: Path) -> None:
    bench = Bench(tmp_path, grace_s=60.0)
    first = bench.ask()
    await bench.script.between.wait()
    await asyncio.sleep(0.2)
    await first.leave()
    retry = bench.ask()
    for _ in range(5):
        await asyncio.sleep(0)  # until it has joined
    bench.script.go.set()
    assert (await retry.answer())[0] == "joined"
    assert len(bench.script.runs) == 1
    await bench.transcriber.close()


async def test_a_run_that_was_left_goes_on_for_no_more_than_a_part_of_what_it_has_run(tmp_path: Path) -> None:
    bench = Bench(tmp_path, grace_s=3600.0)
    first = bench.ask()
    await bench.script.between.wait()
    await first.leave()
    await bench.script.until(lambda: bench.script.ended)
    await bench.transcriber.close()
    assert bench.kept == 0


async def test_who_asks_for_less_joins_a_run_that_gives_more(bench: Bench) -> None:
    rich = bench.ask(RICH)
    await bench.script.between.wait()
    plain = bench.ask()
    bench.script.go.set()
    outcome, transcript = await plain.answer()
    assert outcome == "joined"
    assert [(one.words, one.logprobs) for one in transcript.segments] == [(None, None)] * 2
    _, transcript = await rich.answer()
    assert all(one.words and one.logprobs for one in transcript.segments)
    _, transcript = await bench.ask().answer()
    assert [(one.words, one.logprobs) for one in transcript.segments] == [(None, None)] * 2


async def test_who_asks_for_more_does_not_join_a_run_that_gives_less(bench: Bench) -> None:
    plain = bench.ask()
    await bench.script.between.wait()
    rich = bench.ask(RICH)
    bench.script.go.set()
    assert (await rich.answer())[0] == "miss"
    await plain.answer()
    assert len(bench.script.runs) == 2


async def test_who_is_more_urgent_does_not_wait_for_a_run_that_is_less(bench: Bench) -> None:
    slow = bench.ask(priority=Priority.BATCH)
    await bench.script.between.wait()
    urgent = bench.ask(priority=Priority.INTERACTIVE)
    await bench.script.until(lambda: len(bench.script.runs) == 2)
    patient = bench.ask(priority=Priority.BATCH)
    bench.script.go.set()
    assert [(await one.answer())[0] for one in (slow, urgent, patient)] == ["miss", "miss", "joined"]
    assert [request.priority for request in bench.script.runs] == [Priority.BATCH, Priority.INTERACTIVE]


async def test_other_audio_and_another_model_are_runs_of_their_own(bench: Bench) -> None:
    bench.script.go.set()
    asked = [bench.ask(), bench.ask(sha256="b"), bench.ask(model="m"), bench.ask(TranscribeOptions(beam_size=1))]
    assert [(await one.answer())[0] for one in asked] == ["miss"] * 4


async def test_a_fresh_answer_takes_the_place_of_the_kept_one(bench: Bench) -> None:
    bench.script.go.set()
    await bench.ask().answer()
    assert (await bench.ask(policy="refresh").answer())[0] == "miss"
    assert len(bench.script.runs) == 2
    assert (await bench.ask().answer())[0] == "hit"


async def test_a_private_request_neither_reads_nor_keeps_nor_joins(bench: Bench) -> None:
    shared = bench.ask()
    await bench.script.between.wait()
    private = bench.ask(policy="private", sha256="a")
    other = bench.ask(policy="private", sha256="b")
    bench.script.go.set()
    assert [(await one.answer())[0] for one in (shared, private, other)] == ["miss", "miss", "miss"]
    assert (await bench.ask(sha256="b").answer())[0] == "miss"
    assert len(bench.script.runs) == 4
    assert bench.counts() == (0, 2, 0)


async def test_each_keeps_its_own_deadline(bench: Bench) -> None:
    now = asyncio.get_running_loop().time()
    hurried = bench.ask(deadline=now + 0.05)
    patient = bench.ask(deadline=now + 60)
    with pytest.raises(DeadlineExceeded):
        await hurried.task
    bench.script.go.set()
    assert (await patient.answer())[0] == "joined"
    assert bench.script.runs[0].deadline is None


async def test_closing_ends_runs_and_tells_those_who_wait(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    asked = bench.ask()
    await bench.script.between.wait()
    await bench.transcriber.close()
    with pytest.raises(Busy):
        await asked.task
    with pytest.raises(Busy):
        await bench.ask().task
    assert (bench.kept, bench.script.ended) == (0, 1)


async def test_a_file_without_a_hash_is_hashed(bench: Bench, tmp_path: Path) -> None:
    bench.script.go.set()
    one, same = tmp_path / "one", tmp_path / "same"
    one.write_bytes(b"audio")
    same.write_bytes(b"audio")
    told: list[Outcome] = []
    for path in (one, same):
        request = RequestInfo(request_id="r")
        await bench.transcriber.run(path, OPTIONS, model=None, request=request, reuse=Reuse(report=told.append))
    assert told == ["miss", "hit"]


async def test_without_a_word_about_reuse_every_request_is_a_run(bench: Bench) -> None:
    bench.script.go.set()
    for _ in range(2):
        await bench.transcriber.run(Path("a"), OPTIONS, model=None, request=RequestInfo(request_id="r"))
    assert len(bench.script.runs) == 2
    assert bench.counts() == (0, 0, 0)

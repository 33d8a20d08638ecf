"""What all measures share: the plan, the subjects that are open, and the list of raw runs."""

import os
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.figures import Spread, count_words, spread, word_error_rate
from benchmarks.processes import cpu_seconds
from benchmarks.recordings import Kind, Recording, build_recording
from benchmarks.subjects import ModelSetup, NotInstalled, Subject, open_subject
from benchmarks.worker import Task

# OpenMP threads spin for a moment after their work; the next one to be measured shall not pay for that.
_SETTLE_S = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured."""

    clip_s: float = 5
    clip_repeats: int = 10
    long_s: float = 600
    very_long_s: float = 3 * 3600
    repeats: int = 3
    wer_files: int = 6
    beams: tuple[int, ...] = (1, 5)
    load_minutes: float = 12
    """About how long all measures of load together may take."""
    others: tuple[str, ...] = ()
    """More peers for the clip and the long file."""


QUICK = Plan(clip_repeats=2, long_s=40, very_long_s=120, repeats=1, wer_files=1, beams=(1,), load_minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One transcription by one subject, as measured."""

    measure: str
    subject: str
    audio: str
    audio_seconds: float
    beam_size: int
    language: str | None
    words: bool
    repeat: int
    seconds: float
    engine_seconds: float | None
    stages: dict[str, float] | None
    cpu_parent_seconds: float
    cpu_tree_seconds: float
    foreign_cpu_share: float
    """Processor time that others took on this machine meanwhile, as a share of all cores; the noise of the figure."""
    text_words: int
    wer: float | None

    @property
    def rtfx(self) -> float:
        return self.audio_seconds / self.seconds


@dataclass(slots=True, kw_only=True)
class Bench:
    """A session of measuring; ``runs`` grows."""

    setup: ModelSetup
    nano: ModelSetup
    """The same with the smallest shape, for what depends on the length of the audio only."""
    plan: Plan
    cache: Path
    report: Callable[[str], None]
    runs: list[Run] = field(default_factory=list[Run])
    recordings: dict[str, Recording] = field(default_factory=dict[str, Recording])
    not_installed: dict[str, str] = field(default_factory=dict[str, str])
    """Subjects that were asked for and could not run, and why."""

    def record(self, kind: Kind, seconds: float, seed: int = 0) -> Recording:
        """The recording, built if need be."""
        recording = build_recording(self.cache, kind, seconds, seed)
        self.recordings[recording.name] = recording
        return recording

    @contextmanager
    def subjects(self, names: Iterable[str], setup: ModelSetup | None = None) -> Generator[list[Subject]]:
        """All of them that are installed, loaded and warmed up with one short recording."""
        with ExitStack() as stack:
            opened: list[Subject] = []
            for name in names:
                try:
                    opened.append(stack.enter_context(open_subject(name, setup or self.setup)))
                except NotInstalled as error:
                    self.not_installed[name] = str(error)
                    self.report(str(error))
            for subject in opened:
                clip = self.record("speech", self.plan.clip_s, seed=999)
                for beam_size in self.plan.beams:
                    subject.transcribe(Task(path=str(clip.path), beam_size=beam_size))
            yield opened

    def run(
        self,
        measure: str,
        subject: Subject,
        recording: Recording,
        *,
        beam_size: int,
        repeat: int = 0,
        language: str | None = None,
        words: bool = False,
    ) -> Run:
        """One measured transcription, after the machine has settled."""
        time.sleep(_SETTLE_S)
        before, start = cpu_seconds(subject.pid), time.perf_counter()
        task = Task(path=str(recording.path), beam_size=beam_size, language=language, words=words)
        outcome = subject.transcribe(task)
        wall, used = time.perf_counter() - start, cpu_seconds(subject.pid).since(before)
        run = Run(
            measure=measure,
            subject=subject.name,
            audio=recording.name,
            audio_seconds=recording.seconds,
            beam_size=beam_size,
            language=language,
            words=words,
            repeat=repeat,
            seconds=outcome.seconds,
            engine_seconds=outcome.engine_seconds,
            stages=outcome.stages,
            cpu_parent_seconds=round(used.parent, 3),
            cpu_tree_seconds=round(used.tree, 3),
            foreign_cpu_share=round(max(0.0, used.machine - used.tree) / (wall * (os.cpu_count() or 1)), 3),
            text_words=count_words(outcome.text),
            wer=round(word_error_rate(recording.text, outcome.text), 4) if recording.text else None,
        )
        self.runs.append(run)
        self.report(describe_run(run))
        return run

    def in_turn(
        self, measure: str, subjects: Sequence[Subject], recordings: Sequence[Recording], *, beam_size: int
    ) -> dict[str, list[Run]]:
        """Every subject on every recording, one repeat a recording; who comes first changes from repeat to repeat."""
        runs: dict[str, list[Run]] = {subject.name: [] for subject in subjects}
        for repeat, recording in enumerate(recordings):
            first = repeat % len(subjects)
            for subject in (*subjects[first:], *subjects[:first]):
                run = self.run(measure, subject, recording, beam_size=beam_size, repeat=repeat)
                runs[subject.name].append(run)
        return runs


def describe_run(run: Run) -> str:
    """The progress line."""
    wer = "" if run.wer is None else f"  WER {run.wer:.1%}"
    words = " words" if run.words else ""
    return (
        f"{run.measure:3} {run.subject:30} {run.audio:18} beam {run.beam_size}{words} #{run.repeat + 1}"
        f"  {run.seconds:8.3f} s  RTFx {run.rtfx:7.1f}{wer}  others {run.foreign_cpu_share:.0%}"
    )


def length_name(seconds: float) -> str:
    """As the table says it: 5 s, 10 min, 3 h."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def seconds_of(runs: Sequence[Run]) -> Spread:
    """Time of each repeat."""
    return spread([run.seconds for run in runs])


def noise_of(runs: Iterable[Run]) -> dict[str, Any]:
    """The most that others disturbed any of these runs."""
    return {"foreign_cpu_share_max": max((run.foreign_cpu_share for run in runs), default=0.0)}

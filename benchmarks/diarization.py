"""Who spoke when: errors on made conversations, known voices, and what it costs. ``python -m benchmarks.diarization``

DER and JER are those of pyannote.metrics. What is within 0.25 s of a reference boundary is not counted (its
``collar=0.5`` is the width of both sides), except in the measures that say otherwise.
"""

import argparse
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate, JaccardErrorRate

from auricle.speaker_types import Diarization, KnownSpeaker, Turn
from auricle.speakers.known import voice_of
from auricle.speakers.local import LocalDiarizer
from auricle.units import SAMPLE_RATE
from benchmarks.__main__ import RESULTS, SCHEMA
from benchmarks.conversations import Conversation, Voice, find_clips, load_voices, make_conversation
from benchmarks.figures import Goal, Result, spread
from benchmarks.machine import describe_machine

COLLAR_S = 0.5
_SECONDS = 90
_CONVERSATIONS = 8
"""Of each number of speakers in a set."""
_SNRS_DB = (30, 20, 15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One conversation."""

    conversation: str
    n_speakers: int
    seconds: float
    der_given: float
    """With the number of speakers given."""
    jer_given: float
    der: float
    jer: float
    der_strict: float
    """Boundaries count, and the number is not given."""
    n_found: int
    feed_cpu_s: float
    finish_cpu_s: float
    speech_s: float


def make_set(voices: Sequence[Voice], n_speakers: int, count: int, seed: int) -> Iterator[Conversation]:
    """Conversations of so many of these voices, every choice of them in turn."""
    choices = list(itertools.combinations([voice.name for voice in voices], n_speakers))
    rng = np.random.default_rng(seed)
    order = [choices[index] for index in rng.permutation(len(choices))]
    for index in range(count):
        names = order[index % len(order)]
        yield make_conversation(names, _SECONDS, seed + index, snr_db=_SNRS_DB[index % len(_SNRS_DB)])


def score(conversation: Conversation) -> Score:
    """With the number of speakers given and without."""
    diarizer = LocalDiarizer()
    clips = list(find_clips([conversation.samples]))
    n_speakers = len(conversation.speakers)
    start = time.thread_time()
    for clip in clips:
        diarizer.feed(clip)
    fed = time.thread_time()
    free = diarizer.finish(Diarization())
    done = time.thread_time()
    given = diarizer.finish(Diarization(num_speakers=n_speakers))
    return Score(
        conversation=conversation.name,
        n_speakers=n_speakers,
        seconds=conversation.samples.size / SAMPLE_RATE,
        der_given=error_rate(conversation.turns, given),
        jer_given=jaccard_error_rate(conversation.turns, given),
        der=error_rate(conversation.turns, free),
        jer=jaccard_error_rate(conversation.turns, free),
        der_strict=error_rate(conversation.turns, free, collar=0.0),
        n_found=len({turn.speaker for turn in free}),
        feed_cpu_s=fed - start,
        finish_cpu_s=done - fed,
        speech_s=sum(span.length for clip in clips for span in clip.speech) / SAMPLE_RATE,
    )


def error_rate(reference: Sequence[Turn], found: Sequence[Turn], collar: float = COLLAR_S) -> float:
    """DER of one conversation."""
    return _score(DiarizationErrorRate(collar=collar), reference, found)


def jaccard_error_rate(reference: Sequence[Turn], found: Sequence[Turn], collar: float = COLLAR_S) -> float:
    """JER of one conversation."""
    return _score(JaccardErrorRate(collar=collar), reference, found)


def name_voices(conversation: Conversation, absent: Voice) -> tuple[list[bool], bool]:
    """Whether each speaker but the first gets the right name, and the first, whose voice is not known, none.

    Known is another voice, too, that is not there. The name of a speaker is the one that most of what he says has.
    """
    voices = load_voices()
    stranger, *known = conversation.speakers
    named = [*(voices[name] for name in known), absent]
    asked = Diarization(known=tuple(KnownSpeaker(name=v.name, voice=voice_of(v.reference)) for v in named))
    diarizer = LocalDiarizer()
    for clip in find_clips([conversation.samples]):
        diarizer.feed(clip)
    found = diarizer.finish(asked)
    names = {name: _usual_name(name, conversation.turns, found) for name in conversation.speakers}
    return [names[name] == name for name in known], names[stranger] not in {voice.name for voice in named}


def measure_long(hours: float) -> dict[str, float]:
    """A long conversation of four: processor time and memory of the diarization alone."""
    names = [voice.name for voice in load_voices().values() if voice.held_out][:4]
    parts = (make_conversation(names, 300, seed) for seed in range(10_000, 10_000 + round(hours * 12)))
    diarizer, process = LocalDiarizer(), psutil.Process()
    spent = speech = seconds = 0.0
    resident: list[int] = []
    for clip in find_clips(part.samples for part in parts):
        start = time.thread_time()
        diarizer.feed(clip)
        spent += time.thread_time() - start
        speech += sum(span.length for span in clip.speech) / SAMPLE_RATE
        seconds = clip.end / SAMPLE_RATE
        resident.append(process.memory_info().rss)
    start = time.thread_time()
    turns = diarizer.finish(Diarization())
    finish = time.thread_time() - start
    return {
        "audio_s": seconds,
        "speech_s": speech,
        "feed_cpu_s": spent,
        "finish_cpu_s": finish,
        "speakers": len({turn.speaker for turn in turns}),
        "rss_growth_mib": (process.memory_info().rss - resident[len(resident) // 12]) / 2**20,
    }


def _usual_name(speaker: str, turns: Sequence[Turn], found: Sequence[Turn]) -> str | None:
    shares: Counter[str] = Counter()
    for turn in turns:
        for other in found:
            overlap = min(turn.end, other.end) - max(turn.start, other.start)
            if turn.speaker == speaker and overlap > 0:
                shares[other.speaker] += round(overlap * 1000)
    return shares.most_common(1)[0][0] if shares else None


def _score(metric: DiarizationErrorRate, reference: Sequence[Turn], found: Sequence[Turn]) -> float:
    annotations = (Annotation(), Annotation())
    for annotation, turns in zip(annotations, (reference, found), strict=True):
        for index, turn in enumerate(turns):
            annotation[Segment(turn.start, turn.end), index] = turn.speaker
    whole = Timeline([Segment(0, max(turn.end for turn in (*reference, *found)) + 1)])
    return float(metric(*annotations, uem=whole))  # type: ignore[arg-type]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.diarization", description=__doc__)
    parser.add_argument("--count", type=int, default=_CONVERSATIONS, help="conversations of each kind")
    parser.add_argument("--hours", type=float, default=2.0, help="length of the long conversation; 0 for none")
    parser.add_argument("--set", choices=("held-out", "calibration"), default="held-out")
    parser.add_argument("--out", type=Path, help="folder of the JSON file (default: benchmarks/results; - for none)")
    args = parser.parse_args()
    started = datetime.now(UTC)
    voices = [voice for voice in load_voices().values() if voice.held_out == (args.set == "held-out")]
    results: list[Result] = []
    runs: list[dict[str, Any]] = []
    for kind, pool in {"all": voices, "human": [voice for voice in voices if voice.kind == "human"]}.items():
        scores = [
            score(conversation)
            for n_speakers in range(2, min(4, len(pool)) + 1)
            for conversation in make_set(pool, n_speakers, args.count, seed=1000 * n_speakers)
        ]
        results += summarize(kind, scores)
        runs += [{"voices": kind, **{name: getattr(s, name) for name in Score.__slots__}} for s in scores]
    results += summarize_names("all", voices, args.count)
    # Too few people are held out for conversations with a stranger.
    people = [voice for voice in load_voices().values() if voice.kind == "human"]
    results += summarize_names("human (both sets)", people, args.count)
    if args.hours:
        results.append(summarize_long(measure_long(args.hours)))
    for result in results:
        print(f"{result.measure}: {result.figure.median:.4f} {result.unit} {result.met}")
    document = {
        "schema": SCHEMA,
        "started": started.isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "model": {"shape": "GE2E", "quantization": "int8", "made": "weights of Resemblyzer 0.1.4", "mib": 2.5},
        "settings": {"threads": 1, "concurrency": 1, "language": "any", "set": args.set, "collar_s": COLLAR_S / 2},
        "results": [result.to_json() for result in results],
        "conversations": runs,
        "runs": [],
    }
    if str(args.out) != "-":
        path = (args.out or RESULTS) / f"{started:%Y-%m-%d}-speakers-{args.set}-1core.json"
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def summarize(kind: str, scores: Sequence[Score]) -> list[Result]:
    """Means over conversations, which are of one length."""
    results: list[Result] = []
    for n_speakers in (None, *sorted({s.n_speakers for s in scores})):
        chosen = [s for s in scores if n_speakers in {None, s.n_speakers}]
        what = f"{kind} voices, " + ("2-4 speakers" if n_speakers is None else f"{n_speakers} speakers")
        rows: list[tuple[str, list[float], Goal | None]] = [
            ("DER, number given", [s.der_given for s in chosen], Goal(at_most=0.10)),
            ("JER, number given", [s.jer_given for s in chosen], None),
            ("DER", [s.der for s in chosen], Goal(at_most=0.15)),
            ("JER", [s.jer for s in chosen], None),
            ("DER, boundaries counted", [s.der_strict for s in chosen], None),
            ("number of speakers right", [float(s.n_found == s.n_speakers) for s in chosen], Goal(at_least=0.8)),
        ]
        results += [_result(f"{name}: {what}", "share", float(np.mean(values)), goal) for name, values, goal in rows]
    per_second = [1000 * (s.feed_cpu_s + s.finish_cpu_s) / s.speech_s for s in scores]
    results.append(_result(f"processor time: {kind} voices", "ms a second of speech", float(np.mean(per_second)), None))
    return results


def summarize_names(kind: str, pool: Sequence[Voice], count: int) -> list[Result]:
    """Known voices and strangers in conversations of two and three."""
    right: list[bool] = []
    refused: list[bool] = []
    for n_speakers in range(2, min(4, len(pool))):
        for index, conversation in enumerate(make_set(pool, n_speakers, count, seed=5000 + 1000 * n_speakers)):
            absent = [voice for voice in pool if voice.name not in conversation.speakers]
            names, stranger = name_voices(conversation, absent[index % len(absent)])
            right += names
            refused.append(stranger)
    what = f"{kind} voices"
    return [
        _result(f"known voice has its name: {what}", "share", float(np.mean(right)), Goal(at_least=0.95)),
        _result(f"stranger has no name: {what}", "share", float(np.mean(refused)), Goal(at_least=0.9)),
    ]


def summarize_long(facts: dict[str, float]) -> Result:
    value = 1000 * (facts["feed_cpu_s"] + facts["finish_cpu_s"]) / facts["audio_s"]
    return _result("long conversation of 4: processor time", "ms a second of audio", value, None, facts)


def _result(measure: str, unit: str, value: float, goal: Goal | None, details: dict[str, Any] | None = None) -> Result:
    figure = spread([value])
    return Result(
        id="WHO",
        measure=measure,
        subject="auricle",
        peer=None,
        unit=unit,
        ours=figure,
        theirs=None,
        figure=figure,
        goal=goal,
        details=details or {},
    )


if __name__ == "__main__":
    main()

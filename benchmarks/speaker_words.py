"""Words given to the wrong speaker, through the whole server: ``python -m benchmarks.speaker_words``

The conversations are those of ``benchmarks.diarization``, of voices that were not used for tuning. A word counts where
its middle lies in one reference turn only; found speakers stand for those of the reference that they overlap most with
(pyannote.metrics' optimal mapping). Texts are nano's, which hears wrong words, but at the right times.
"""

import argparse
import json
import wave
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
from pyannote.core import Annotation, Segment
from pyannote.metrics.diarization import DiarizationErrorRate

from auricle.cli.child_server import child_server
from auricle.speaker_types import Turn
from auricle.types import Samples
from auricle.units import SAMPLE_RATE
from benchmarks.__main__ import RESULTS, SCHEMA
from benchmarks.conversations import load_voices
from benchmarks.diarization import make_set
from benchmarks.figures import Result, spread
from benchmarks.machine import describe_machine


def count_wrong(words: Sequence[dict[str, Any]], reference: Sequence[Turn]) -> tuple[int, int]:
    """Words of a wrong speaker, and all that can be judged; a word is ``{start, end, speaker}``."""
    said, found = Annotation(), Annotation()
    for index, turn in enumerate(reference):
        said[Segment(turn.start, turn.end), index] = turn.speaker
    for index, word in enumerate(words):
        if word["end"] > word["start"]:
            found[Segment(word["start"], word["end"]), index] = word["speaker"]
    names = DiarizationErrorRate().optimal_mapping(said, found)
    wrong = judged = 0
    for word in words:
        middle = (word["start"] + word["end"]) / 2
        speakers = {turn.speaker for turn in reference if turn.start <= middle <= turn.end}
        if len(speakers) == 1:
            judged += 1
            wrong += names.get(word["speaker"]) not in speakers
    return wrong, judged


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speaker_words", description=__doc__)
    parser.add_argument("--count", type=int, default=4, help="conversations of each number of speakers")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON file")
    args = parser.parse_args()
    started = datetime.now(UTC)
    voices = [voice for voice in load_voices().values() if voice.held_out]
    runs: list[dict[str, Any]] = []
    flags = ["--model", "nano", "--compute-type", "float32", "--threads", "2"]
    with (
        TemporaryDirectory() as folder,
        child_server([*flags, "--data-dir", folder], log=Path(folder) / "log", start_timeout_s=60) as server,
    ):
        for n_speakers in (2, 3, 4):
            for conversation in make_set(voices, n_speakers, args.count, seed=1000 * n_speakers):
                path = _write(Path(folder) / "talk.wav", conversation.samples)
                for given in (None, n_speakers):
                    words = _ask(server.url, path, given)
                    wrong, judged = count_wrong(words, conversation.turns)
                    runs.append({"conversation": conversation.name, "given": given, "wrong": wrong, "words": judged})
                    print(runs[-1], flush=True)
    document = {
        "schema": SCHEMA,
        "started": started.isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "model": {"shape": "nano", "quantization": "float32", "made": "the embedded model", "mib": 12.8},
        "settings": {"threads": 2, "concurrency": 1, "language": "en", "set": "held-out"},
        "results": [_summarize(runs, is_given=is_given).to_json() for is_given in (True, False)],
        "conversations": runs,
        "runs": [],
    }
    path = args.out / f"{started.date()}-speaker-words-nano.json"
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(path)


def _ask(url: str, audio: Path, n_speakers: int | None) -> list[dict[str, Any]]:
    fields = {"response_format": "verbose_json", "timestamp_granularities[]": "word", "diarize": "true"}
    fields |= {"language": "en"} | ({} if n_speakers is None else {"num_speakers": str(n_speakers)})
    with audio.open("rb") as file:
        answer = httpx.post(f"{url}/v1/audio/transcriptions", files={"file": file}, data=fields, timeout=600)
    answer.raise_for_status()
    return answer.json()["words"]


def _write(path: Path, samples: Samples) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def _summarize(runs: Sequence[dict[str, Any]], *, is_given: bool) -> Result:
    chosen = [run for run in runs if (run["given"] is not None) == is_given and run["words"]]
    shares = spread([100 * run["wrong"] / run["words"] for run in chosen])
    total = spread([100 * sum(run["wrong"] for run in chosen) / sum(run["words"] for run in chosen)])
    number = "number of speakers given" if is_given else "number of speakers not given"
    return Result(
        id="SPEAKERS",
        measure=f"words of a wrong speaker, {number}, 2 to 4 speakers, 90 s",
        subject="auricle over HTTP, local",
        peer=None,
        unit="%",
        ours=shares,
        theirs=None,
        figure=total,
        goal=None,
        details={"words": sum(run["words"] for run in chosen), "conversations": len(chosen)},
    )


if __name__ == "__main__":
    main()

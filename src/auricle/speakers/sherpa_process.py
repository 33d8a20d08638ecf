"""What runs sherpa-onnx: ``python -m auricle.speakers.sherpa_process ORDER``, float32 audio at 16 kHz on its input.

Writes the turns as one line of JSON; without audio it only loads the models.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from auricle.types import Samples


@dataclass(frozen=True, slots=True, kw_only=True)
class SherpaOrder:
    """Models and bounds of one file."""

    segmentation: str
    embedding: str
    at_least: int
    at_most: int | None


def diarize(order: SherpaOrder, samples: Samples) -> list[dict[str, Any]]:
    """Turns by start, as the fields of ``Turn``. Raises ValueError, RuntimeError where a model cannot be loaded."""
    import sherpa_onnx  # pyright: ignore[reportMissingImports, reportMissingTypeStubs]  # noqa: PLC0415

    sherpa = cast("Any", sherpa_onnx)
    n_speakers = order.at_least if order.at_least == order.at_most else -1
    config = sherpa.OfflineSpeakerDiarizationConfig(
        segmentation=sherpa.OfflineSpeakerSegmentationModelConfig(
            pyannote=sherpa.OfflineSpeakerSegmentationPyannoteModelConfig(model=order.segmentation)
        ),
        embedding=sherpa.SpeakerEmbeddingExtractorConfig(model=order.embedding),
        clustering=sherpa.FastClusteringConfig(num_clusters=n_speakers),
    )
    if not config.validate():
        raise ValueError("sherpa-onnx refuses the models")
    diarization = sherpa.OfflineSpeakerDiarization(config)
    if not samples.size:
        return []
    found = diarization.process(samples)
    # It takes the number of speakers or finds it, and knows no bounds.
    bounded = max(order.at_least, min(found.num_speakers, order.at_most or found.num_speakers))
    if n_speakers < 0 and 0 < found.num_speakers != bounded:
        config.clustering = sherpa.FastClusteringConfig(num_clusters=bounded)
        diarization.set_config(config)
        found = diarization.process(samples)
    segments = cast("Iterable[Any]", found.sort_by_start_time())
    return [{"start": part.start, "end": part.end, "speaker": str(part.speaker)} for part in segments]


def main() -> None:
    """Entry point."""
    turns = diarize(SherpaOrder(**json.loads(sys.argv[1])), np.frombuffer(sys.stdin.buffer.read(), np.float32))
    # What the library prints itself comes before.
    sys.stdout.write("\n" + json.dumps(turns) + "\n")


if __name__ == "__main__":
    main()

"""What a transcript depends on, as one name."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from auricle import __version__
from auricle.types import TranscribeOptions

_EXTRAS = ("word_timestamps", "logprobs")
"""Options that add to a transcript and change no text of it."""


def result_key(audio_sha256: str, model: str, options: TranscribeOptions, *, scope: str = "") -> str:
    """SHA-256, in hex, over the audio, the model's identity, the options and the version of Auricle.

    Results are shared within a ``scope`` only. Options that only add to the transcript are left out: a result that
    has them serves a request without. Every other option counts, those of later versions too; so does who is
    asked to be told apart, since segments are cut where the speaker changes.
    """
    chosen = {name: value for name, value in asdict(options).items() if name not in _EXTRAS}
    parts = [__version__, audio_sha256, model, scope, chosen]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def folder_fingerprint(folder: Path) -> str:
    """Names, sizes and times of the files in a model's folder: another model, or a new version, has another one."""
    stats = sorted((entry.name, entry.stat()) for entry in folder.iterdir() if entry.is_file())
    return hashlib.sha256(
        json.dumps([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]).encode()
    ).hexdigest()

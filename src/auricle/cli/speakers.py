"""Flags of ``auricle transcribe`` about speakers."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from auricle.config import Settings
from auricle.errors import InvalidOption, UnsupportedOption
from auricle.pipeline.diarize import MAX_KNOWN_SPEAKERS, check_diarization
from auricle.pipeline.voices import check_name, know_speaker
from auricle.speaker_types import Diarization
from auricle.types import Channels, TranscribeOptions

Known = Mapping[str, Path]
"""Names, each with a sample of the voice."""


def parse_known(values: Sequence[str]) -> Known:
    """``NAME=FILE`` as name and file. Raises InvalidOption for what is not of that form."""
    known: dict[str, Path] = {}
    for value in values:
        name, equals, path = value.partition("=")
        try:
            name = check_name(name)
        except ValueError as exc:
            raise InvalidOption(f"--known {value[:80]!r}: {exc}", param="known") from exc
        if not equals or not path or name in known:
            raise InvalidOption(f"--known {value[:80]!r} is not of the form NAME=FILE, or not the first", param="known")
        known[name] = Path(path)
    if len(known) > MAX_KNOWN_SPEAKERS:
        raise InvalidOption(f"--known names {len(known)} speakers; at most {MAX_KNOWN_SPEAKERS}", param="known")
    return known


def parse_diarization(
    settings: Settings,
    *,
    speakers: int | None,
    min_speakers: int | None,
    max_speakers: int | None,
    server: str | None,
) -> Diarization:
    """What is asked, but for known voices; a server has its own settings. Raises InvalidOption, UnsupportedOption."""
    if settings.diarization == "off" and not server:
        raise UnsupportedOption("speakers are not told apart: AURICLE_DIARIZATION is off", param="diarize")
    return check_diarization(Diarization(num_speakers=speakers, min_speakers=min_speakers, max_speakers=max_speakers))


def parse_channels(value: str, *, diarize: bool) -> Channels:
    """Whether channels are speakers. Raises InvalidOption, also where ``diarize`` looks for speakers in another way."""
    for channels in get_args(Channels):
        if value == channels:
            break
    else:
        raise InvalidOption(f"--channels {value!r} is none of {', '.join(get_args(Channels))}", param="channels")
    if channels == "separate" and diarize:
        raise InvalidOption(
            "--channels separate tells speakers by their channels; leave out --diarize, --speakers and --known",
            param="channels",
        )
    return channels


def with_voices(options: TranscribeOptions, known: Known) -> TranscribeOptions:
    """The options with the voices of those who have a name; blocks. Raises InvalidOption."""
    if options.diarization is None or not known:
        return options
    speakers = tuple(
        know_speaker(name, path, where=f"--known {name}={path}", param="known") for name, path in known.items()
    )
    return replace(options, diarization=replace(options.diarization, known=speakers))


def speaker_fields(diarization: Diarization | None, known: Known) -> dict[str, object]:
    """The form fields that ask a server the same; None for what is not asked."""
    if diarization is None:
        return {}
    counts = {name: getattr(diarization, name) for name in ("num_speakers", "min_speakers", "max_speakers")}
    return {
        "diarize": "true",
        **{name: None if count is None else str(count) for name, count in counts.items()},
        "known_speaker_names[]": list(known),
        "known_speaker_references[]": [_data_url(path) for path in known.values()],
    }


def _data_url(path: Path) -> str:
    try:
        return "data:;base64," + base64.b64encode(path.read_bytes()).decode()
    except OSError as exc:
        raise InvalidOption(f"--known {path}: {exc.strerror or exc}", param="known") from exc

"""What a form says of speakers."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from auricle.config import Settings
from auricle.errors import InvalidOption, UnsupportedOption
from auricle.formats.registry import SPEAKERS_FORMAT
from auricle.net.data_url import parse_data_url
from auricle.pipeline.diarize import check_diarization
from auricle.pipeline.voices import check_name, know_speaker
from auricle.speaker_types import Diarization, KnownSpeaker
from auricle.types import Channels, TranscribeOptions

REFERENCES = "known_speaker_references"
MAX_REFERENCE_CHARACTERS = 4 << 20

_DIARIZE_MODEL = "gpt-4o-transcribe-diarize"
_NAMELESS_FORMATS = ("json", "text")
"""Show no speakers."""
_MAX_REFERENCE_BYTES = MAX_REFERENCE_CHARACTERS * 3 // 4

Known = tuple[tuple[str, str | None], ...]
"""Names, each with a sample of the voice as a ``data:`` URL; None where the voice is stored."""

FindVoices = Callable[[Sequence[str]], Awaitable[Mapping[str, tuple[float, ...]]]]
"""Stored voices by name."""


class SpeakerFields(Protocol):
    """The fields of ``schemas.AudioForm`` that are about speakers."""

    @property
    def model(self) -> str | None: ...
    @property
    def response_format(self) -> str: ...
    @property
    def diarize(self) -> bool | None: ...
    @property
    def channels(self) -> Channels: ...
    @property
    def num_speakers(self) -> int | None: ...
    @property
    def min_speakers(self) -> int | None: ...
    @property
    def max_speakers(self) -> int | None: ...
    @property
    def known_speaker_names(self) -> tuple[str, ...]: ...
    @property
    def known_speaker_references(self) -> tuple[str, ...]: ...


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """Raises ValueError that says which of them cannot be used."""
    checked: list[str] = []
    for index, name in enumerate(names):
        try:
            checked.append(check_name(name))
        except ValueError as exc:
            raise ValueError(f"[{index}]: {exc}") from exc
        if checked[-1] in checked[:-1]:
            raise ValueError(f"[{index}]: this name is there already")
    return tuple(checked)


def check_speaker_fields(form: SpeakerFields) -> None:
    """Raises InvalidOption where fields contradict one another."""
    names, references = len(form.known_speaker_names), len(form.known_speaker_references)
    if references and names != references:
        raise InvalidOption(
            f"There are {names} known_speaker_names and {references} {REFERENCES}; send a sample for each name.",
            param=REFERENCES,
        )
    check_diarization(_counts(form))
    if form.channels == "separate" and (form.diarize or _asking_field(form) not in (None, "response_format")):
        raise InvalidOption(
            "channels=separate tells speakers by their channels; leave out diarize, numbers and known speakers.",
            param="channels",
        )
    if form.diarize is False and (field := _asking_field(form)) is not None:
        raise InvalidOption(f"diarize is false, but {field} asks for speakers.", param="diarize")


def known_speakers(form: SpeakerFields) -> Known:
    """Who can be called by name."""
    names = form.known_speaker_names
    return tuple(zip(names, form.known_speaker_references or [None] * len(names), strict=True))


def asked_diarization(form: SpeakerFields, settings: Settings, *, for_job: bool) -> Diarization | None:
    """What is asked of speakers; their known voices come later. The format of a job's result is chosen later, too.

    The name of OpenAI's model asks for speakers where they can be shown and told apart. Raises UnsupportedOption.
    """
    if form.channels == "separate":
        return None
    field = _asking_field(form) or ("diarize" if form.diarize else None)
    if field is not None and settings.diarization == "off":
        raise UnsupportedOption(
            f"{field} asks for speakers, which are not told apart on this server (AURICLE_DIARIZATION is off).",
            param=field,
        )
    by_model = (
        form.model == _DIARIZE_MODEL
        and form.diarize is None
        and settings.diarization != "off"
        and (for_job or form.response_format not in _NAMELESS_FORMATS)
    )
    return _counts(form) if field is not None or by_model else None


async def with_known_speakers(options: TranscribeOptions, known: Known, find: FindVoices) -> TranscribeOptions:
    """The options with the voices of those who have a name.

    Raises InvalidOption that says which sample is no good, or who has no voice.
    """
    if options.diarization is None or not known:
        return options
    sent = [(name, url) for name, url in known if url is not None]
    speakers = await asyncio.to_thread(_know, sent) if sent else await _recall([name for name, _ in known], find)
    return replace(options, diarization=replace(options.diarization, known=speakers))


def _asking_field(form: SpeakerFields) -> str | None:
    """The first field that makes no sense without speakers."""
    if form.response_format == SPEAKERS_FORMAT:
        return "response_format"
    names = ("known_speaker_names", "num_speakers", "min_speakers", "max_speakers")
    return next((name for name in names if getattr(form, name) not in (None, ())), None)


def _counts(form: SpeakerFields) -> Diarization:
    return Diarization(num_speakers=form.num_speakers, min_speakers=form.min_speakers, max_speakers=form.max_speakers)


async def _recall(names: Sequence[str], find: FindVoices) -> tuple[KnownSpeaker, ...]:
    voices = await find(names)
    for index, name in enumerate(names):
        if name not in voices:
            raise InvalidOption(
                f"known_speaker_names[{index}]: no sample came with {name!r}, and no voice of that name is stored.",
                param="known_speaker_names",
            )
    return tuple(KnownSpeaker(name=name, voice=voices[name]) for name in names)


def _know(known: Sequence[tuple[str, str]]) -> tuple[KnownSpeaker, ...]:
    return tuple(
        know_speaker(name, _read(url, where), where=where, param=REFERENCES)
        for where, name, url in ((f"{REFERENCES}[{index}]", *one) for index, one in enumerate(known))
    )


def _read(url: str, where: str) -> bytes:
    """The audio in a ``data:`` URL."""
    if url[:5].lower() != "data:":
        raise InvalidOption(f"{where}: this is no data: URL, such as data:audio/wav;base64,…", param=REFERENCES)
    try:
        return parse_data_url(url, max_bytes=_MAX_REFERENCE_BYTES)[1]
    except InvalidOption as exc:
        raise InvalidOption(f"{where}: {exc.message}", param=REFERENCES) from exc

"""The input of a job on RunPod: what this worker's own clients send, and those of the public faster-whisper worker."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from auricle.config import Settings
from auricle.errors import InvalidOption
from auricle.tokenizer import parse_language
from auricle.types import Task, TranscribeOptions

SOURCES = ("audio_url", "audio", "audio_base64")
"""Fields that hold the audio, in the order in which they are looked at."""
TextFormat = Literal["plain_text", "formatted_text", "srt", "vtt"]

_MAX_PROMPT = 16_384
_LEAST_STEP = 0.05


def _language(value: object) -> object:
    if not isinstance(value, str) or value.strip().lower() in {"", "auto", "none"}:
        return None
    return parse_language(value)


def _tokens(value: str) -> tuple[int, ...]:
    return tuple(int(part) for part in value.split(",") if part.strip())


Number = Annotated[float, Field(allow_inf_nan=False)]


class Fields(BaseModel):
    """All fields but the audio; what is left out or null is decided by the settings."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    model: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    language: Annotated[str | None, BeforeValidator(_language)] = None
    transcription: TextFormat = "plain_text"
    translate: bool = False
    translation: TextFormat = "plain_text"
    word_timestamps: bool = False
    enable_vad: bool | None = None
    initial_prompt: Annotated[str, Field(max_length=_MAX_PROMPT)] | None = None
    condition_on_previous_text: bool | None = None
    temperature: Annotated[Number, Field(ge=0, le=1)] | None = None
    temperature_increment_on_fallback: Annotated[Number, Field(ge=_LEAST_STEP, le=1)] | None = None
    beam_size: Annotated[int, Field(ge=1, le=16)] | None = None
    best_of: Annotated[int, Field(ge=1, le=16)] | None = None
    patience: Annotated[Number, Field(gt=0, le=10)] | None = None
    length_penalty: Annotated[Number, Field(ge=-10, le=10)] | None = None
    suppress_tokens: Annotated[str, Field(max_length=_MAX_PROMPT), AfterValidator(_tokens)] | None = None
    compression_ratio_threshold: Number | None = None
    logprob_threshold: Number | None = None
    no_speech_threshold: Number | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInput:
    """A job's input, checked."""

    source: str
    """The field that holds the audio."""
    url: str
    """Of the audio; what came as base64 is a data URL."""
    fields: Fields
    is_plain: bool
    """Whether nothing but ``audio_url`` is there, so that nothing but the text is asked for."""
    unknown: tuple[str, ...]
    """Names of fields that mean nothing here."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What is to be done with the audio, in order."""
        return ("transcribe", "translate") if self.fields.translate else ("transcribe",)

    def options(self, task: Task, settings: Settings) -> TranscribeOptions:
        """What the pipeline is asked to do."""
        fields = self.fields
        same = (
            *("condition_on_previous_text", "best_of", "patience", "length_penalty", "suppress_tokens"),
            *("compression_ratio_threshold", "logprob_threshold", "no_speech_threshold"),
        )
        given: dict[str, Any] = {name: value for name in same if (value := getattr(fields, name)) is not None}
        return TranscribeOptions(
            task=task,
            language=fields.language,
            prompt=fields.initial_prompt,
            temperatures=_ladder(fields.temperature, fields.temperature_increment_on_fallback),
            word_timestamps=fields.word_timestamps and task == "transcribe",
            vad=settings.vad if fields.enable_vad is None else fields.enable_vad,
            beam_size=fields.beam_size or settings.beam_size,
            audio_context=settings.audio_context,
            **given,
        )


def parse_input(data: object) -> JobInput:
    """The input of a job. Raises InvalidOption, in the words that clients know where there are such."""
    if not isinstance(data, dict) or not data:
        raise InvalidOption("Input data is empty")
    values = {str(name): value for name, value in data.items()}
    named = [name for name in SOURCES if values.get(name) is not None]
    if not named:
        raise InvalidOption("Missing required field: audio_url", param="audio_url")
    source, *more = named
    if more:
        raise InvalidOption(f"{source} and {more[0]} both hold audio; send one of them", param=more[0])
    audio = values[source]
    if not isinstance(audio, str):
        raise InvalidOption(f"{source} must be a string", param=source)
    return JobInput(
        source=source,
        url=_data_url(audio) if source == "audio_base64" else audio.strip(),
        fields=_check({name: value for name, value in values.items() if name not in SOURCES and value is not None}),
        is_plain=set(values) == {"audio_url"},
        unknown=tuple(name[:40] for name in values if name not in SOURCES and name not in Fields.model_fields),
    )


def _check(values: dict[str, Any]) -> Fields:
    try:
        return Fields.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        name = str(first["loc"][0])
        reason = first["msg"].removeprefix("Value error, ")
        raise InvalidOption(f"{name}: {reason}. Given: {str(values[name])[:80]!r}", param=name) from error


def _data_url(text: str) -> str:
    return text if text.startswith("data:") else "data:application/octet-stream;base64," + "".join(text.split())


def _ladder(temperature: float | None, step: float | None) -> tuple[float, ...]:
    """Temperatures from the first up to 1; without a step, and with a first one of its own, only that."""
    if temperature is None and step is None:
        return TranscribeOptions().temperatures
    first = temperature or 0.0
    if step is None:
        return TranscribeOptions().temperatures if first == 0 else (first,)
    count = int((1.0 - first) / step + 1e-6) + 1
    return tuple(round(first + step * number, 4) for number in range(count))

"""The form of a transcription request: one declaration checks it, documents it and turns it into options."""

import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from auricle.config import Settings
from auricle.errors import InvalidOption
from auricle.formats.options import MAX_LINE_WIDTH, FormatOptions, SubtitleOptions
from auricle.pipeline.diarize import MAX_KNOWN_SPEAKERS, MAX_SPEAKERS
from auricle.server.speakers import MAX_REFERENCE_CHARACTERS, asked_diarization, check_names, check_speaker_fields
from auricle.tokenizer import parse_language
from auricle.types import AudioContext, Channels, Task, TranscribeOptions, VadOptions

MAX_PROMPT_CHARACTERS = 16_384
MAX_KEYWORDS = 256

_ALIASES = {"vad_filter": "vad", "hotwords": "keywords"}
"""Names that faster-whisper and servers around it use -> ours."""
_COMMA_LISTS = {"languages", "include", "timestamp_granularities", "hotwords"}
"""Lists whose entries hold no comma, so that one may also be written with commas."""


def _printable(value: str) -> str:
    if any(character < " " and character not in "\n\r\t" for character in value) or "\x7f" in value:
        raise ValueError("must not hold control characters")
    return value


def _language(value: object) -> object:
    if not isinstance(value, str) or value.strip().lower() == "auto":
        return None
    return parse_language(value)


def _languages(value: list[str]) -> list[str]:
    try:
        return [parse_language(entry) for entry in value]
    except InvalidOption as exc:
        raise InvalidOption(exc.message, param="languages") from exc


def _chunking(value: object) -> object:
    """The JSON string of an object is as good as the object; OpenAI's client sends it in single fields."""
    if not isinstance(value, str) or not value.lstrip().startswith("{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as exc:
        raise ValueError("is neither 'auto' nor a JSON object") from exc


PriorityName = Literal["realtime", "interactive", "batch"]
Text = Annotated[str, AfterValidator(_printable)]
Number = Annotated[float, Field(allow_inf_nan=False)]
SpeakerCount = Annotated[int, Field(ge=1, le=MAX_SPEAKERS)]


class ServerVad(BaseModel):
    """How speech is told from silence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["server_vad"]
    threshold: Annotated[Number, Field(gt=0, lt=1)] = VadOptions().threshold
    prefix_padding_ms: Annotated[int, Field(ge=0, le=10_000)] = VadOptions().speech_pad_ms
    silence_duration_ms: Annotated[int, Field(ge=0, le=30_000)] = VadOptions().min_silence_duration_ms


class AudioForm(BaseModel):
    """All fields of the form but the file. What stands after ``vad`` goes beyond OpenAI's API."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    model: Annotated[Text, Field(max_length=256)] | None = Field(
        None,
        description="Name from `GET /v1/models`, an alias such as `whisper-1`, or, where the server allows it, a "
        "Hugging Face repository of Whisper weights. Without it, the server's default model.",
        examples=["whisper-1"],
    )
    language: Annotated[str | None, BeforeValidator(_language)] = Field(
        None, description="Language of the audio, `de` or `german`; detected where missing or `auto`."
    )
    languages: Annotated[tuple[str, ...], BeforeValidator(_languages), Field(max_length=128)] = Field(
        (), description="Languages that the audio may be in; detection chooses among them."
    )
    prompt: Annotated[Text, Field(max_length=MAX_PROMPT_CHARACTERS)] | None = Field(
        None, description="Text that comes before the audio, for style and spelling. Its end counts most."
    )
    keywords: Annotated[tuple[Annotated[Text, Field(max_length=256)], ...], Field(max_length=MAX_KEYWORDS)] = Field(
        (), description="Words and names to expect; they are given to the model with every window."
    )
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt", "tsv", "diarized_json"] = Field(
        "json", description="What the body of the answer is; `diarized_json` says who spoke when."
    )
    temperature: Annotated[Number, Field(ge=0, le=1)] = Field(
        0.0,
        description="0 decodes with beam search and goes to higher temperatures only where the text fails the "
        "checks; any other value samples at that temperature.",
    )
    timestamp_granularities: tuple[Literal["word", "segment"], ...] = Field(
        (), description="Which times `verbose_json` holds; segments where nothing is named."
    )
    include: tuple[Literal["logprobs"], ...] = Field(
        (), description="`logprobs` adds log-probabilities of the tokens to `json` and to events."
    )
    chunking_strategy: Annotated[Literal["auto"] | ServerVad | None, BeforeValidator(_chunking)] = Field(
        None, description="`auto`, or an object that tunes the voice activity detection."
    )
    known_speaker_names: Annotated[
        tuple[str, ...], Field(max_length=MAX_KNOWN_SPEAKERS), AfterValidator(check_names)
    ] = Field((), description="Names of speakers whose voices are sent along; others are called A, B, ….")
    known_speaker_references: Annotated[
        tuple[Annotated[str, Field(max_length=MAX_REFERENCE_CHARACTERS)], ...], Field(max_length=MAX_KNOWN_SPEAKERS)
    ] = Field(
        (),
        description="For each name 2 to 10 s of that voice alone: a `data:` URL, in a form also a file. None at all "
        "where the voices are stored (`POST /v1/voices`).",
    )
    priority: PriorityName | None = Field(
        None,
        description="Class of the request; the first goes first, if the server lets clients ask for it. The header "
        "`X-Auricle-Priority` says the same.",
    )
    deadline_s: Annotated[Number, Field(gt=0)] | None = Field(
        None,
        description="Seconds from the request's arrival after which the answer is of no use: work that is not done by "
        "then is given up with 504. The header `X-Auricle-Deadline` says the same.",
    )
    stream: bool = Field(
        False,
        description="Send the text as server-sent events while it is made; with `json`, `text` and `diarized_json`.",
    )
    diarize: bool | None = Field(
        None,
        description="Tell speakers apart, for all formats that can show them. `diarized_json`, known speakers and "
        "numbers of speakers ask for it by themselves.",
    )
    channels: Channels = Field(
        "mix", description="`separate` transcribes each channel by itself and takes it for a speaker, as in calls."
    )
    num_speakers: SpeakerCount | None = Field(None, description="How many speak, where that is known.")
    min_speakers: SpeakerCount | None = Field(None, description="How many speak at least.")
    max_speakers: SpeakerCount | None = Field(None, description="How many speak at most.")
    vad: bool | None = Field(
        None, description="Find speech first and transcribe only that; off decodes the whole file in sequence."
    )
    beam_size: Annotated[int, Field(ge=1, le=16)] | None = Field(None, description="1 is greedy, faster.")
    audio_context: AudioContext | None = Field(
        None,
        description="`auto` gives the encoder short windows at about their own length: several times faster for short "
        "clips, with texts that can differ slightly; `full` is exact.",
    )
    condition_on_previous_text: bool | None = Field(
        None, description="Give each window the text before it; the file is then decoded in sequence."
    )
    language_per_window: bool | None = Field(None, description="Detect the language again for every window.")
    compression_ratio_threshold: Number | None = Field(
        None, description="Text that compresses better than this is repetition and is tried again."
    )
    logprob_threshold: Number | None = Field(
        None, description="Text with a lower average log-probability is tried again."
    )
    no_speech_threshold: Number | None = Field(
        None, description="From this probability of silence on, and with a low log-probability, a window is silent."
    )
    max_line_width: Annotated[int, Field(ge=2, le=MAX_LINE_WIDTH)] | None = Field(
        None, description="Columns of a line of srt and vtt."
    )
    max_lines: Annotated[int, Field(ge=1)] | None = Field(None, description="Lines of a cue of srt and vtt.")
    min_duration_s: Number | None = Field(None, description="Shortest cue of srt and vtt, in seconds.")
    max_duration_s: Number | None = Field(None, description="Longest cue of srt and vtt, in seconds.")
    highlight_words: bool = Field(False, description="Underline each word of srt and vtt while it is spoken.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.timestamp_granularities and self.response_format != "verbose_json":
            raise _conflict("timestamp_granularities", "needs response_format=verbose_json")
        if self.include and self.response_format != "json":
            raise _conflict("include", "logprobs come with response_format=json only")
        if self.stream and self.response_format not in {"json", "text", "diarized_json"}:
            raise _conflict(
                "stream", f"works with response_format=json, text or diarized_json, not {self.response_format}"
            )
        if self.chunking_strategy is not None and self.vad is False:
            raise _conflict("vad", "is false, but chunking_strategy asks for voice activity detection")
        check_speaker_fields(self)
        return self


def parse_form(fields: Iterable[tuple[str, str]]) -> tuple[AudioForm, list[str]]:
    """The checked form, and the names of fields that it does not know.

    Raises InvalidOption that names the field.
    """
    values, unknown = _collect(fields)
    try:
        return AudioForm.model_validate(values), unknown
    except ValidationError as exc:
        found = exc.errors(include_url=False, include_context=False, include_input=False)
        # An object that fits no member of a union: the deepest error is about the member that was meant.
        worst = max((error for error in found if error["loc"][:1] == found[0]["loc"][:1]), key=lambda e: len(e["loc"]))
        field, *inner = (str(part) for part in worst["loc"])
        param = ".".join([field, *(part for part in inner if part in ServerVad.model_fields)])
        reason = worst["msg"].removeprefix("Value error, ")
        given = values.get(field)
        raise InvalidOption(f"{param}: {reason}. Given: {_shorten(given)}", param=param) from exc


def transcribe_options(form: AudioForm, task: Task, settings: Settings, *, for_job: bool = False) -> TranscribeOptions:
    """What the pipeline is asked for, but for known voices; the settings fill what the form leaves open.

    Raises UnsupportedOption where the settings do not allow what is asked for.
    """
    names = (
        "condition_on_previous_text",
        "language_per_window",
        "compression_ratio_threshold",
        "logprob_threshold",
        "no_speech_threshold",
    )
    given: dict[str, Any] = {name: value for name in names if (value := getattr(form, name)) is not None}
    if form.temperature > 0:
        given["temperatures"] = (form.temperature,)
    if isinstance(form.chunking_strategy, ServerVad):
        given["vad_options"] = VadOptions(
            threshold=form.chunking_strategy.threshold,
            speech_pad_ms=form.chunking_strategy.prefix_padding_ms,
            min_silence_duration_ms=form.chunking_strategy.silence_duration_ms,
        )
    subtitles = form.response_format in {"srt", "vtt"}
    return TranscribeOptions(
        task=task,
        language=form.language,
        languages=form.languages,
        prompt=form.prompt,
        keywords=form.keywords,
        word_timestamps="word" in form.timestamp_granularities
        or (subtitles and (form.highlight_words or form.max_line_width is not None or form.max_duration_s is not None)),
        logprobs="logprobs" in form.include,
        vad=form.chunking_strategy is not None or (settings.vad if form.vad is None else form.vad),
        beam_size=form.beam_size or settings.beam_size,
        audio_context=form.audio_context or settings.audio_context,
        diarization=asked_diarization(form, settings, for_job=for_job),
        channels=form.channels,
        **given,
    )


def format_options(form: AudioForm) -> FormatOptions:
    """What goes into the body. Raises InvalidOption for subtitle rules that cannot be met."""
    granularities = form.timestamp_granularities or ("segment",)
    return FormatOptions(
        words="word" in granularities,
        segments="segment" in granularities,
        logprobs="logprobs" in form.include,
        subtitles=SubtitleOptions(
            max_line_width=form.max_line_width,
            max_lines=form.max_lines,
            min_duration_s=form.min_duration_s,
            max_duration_s=form.max_duration_s,
            highlight_words=form.highlight_words,
        ),
    )


def form_schema() -> dict[str, Any]:
    """The form as an OpenAPI request body; lists carry the brackets that OpenAI's client sends."""
    schema = AudioForm.model_json_schema()
    vad = schema.pop("$defs")["ServerVad"]
    properties: dict[str, Any] = {
        "file": {"type": "string", "format": "binary", "description": "Audio or video, in any format FFmpeg reads."}
    }
    for name, field in schema["properties"].items():
        properties[f"{name}[]" if name in _LISTS else name] = field
    properties["chunking_strategy"]["anyOf"][1] = vad
    form = {"type": "object", "required": ["file"], "properties": properties}
    return {"required": True, "content": {"multipart/form-data": {"schema": form}}}


TEXT_SCHEMA: dict[str, Any] = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}
"""For OpenAPI: what all answers in JSON have that hold a transcript."""

_LISTS = {name for name, field in AudioForm.model_fields.items() if get_origin(field.annotation) is tuple}


def _collect(fields: Iterable[tuple[str, str]]) -> tuple[dict[str, Any], list[str]]:
    """Values by field: lists gathered, brackets and aliases undone; empty values are as good as none."""
    values: dict[str, Any] = {}
    unknown: list[str] = []
    for wire_name, value in fields:
        asked, bracket, key = wire_name.removesuffix("[]").partition("[")
        name = _ALIASES.get(asked, asked)
        if name not in AudioForm.model_fields:
            unknown.append(wire_name)
        elif name in _LISTS:
            entries = value.split(",") if asked in _COMMA_LISTS else [value]
            values.setdefault(name, []).extend(entry.strip() for entry in entries if entry.strip())
        elif bracket:
            _put(values.setdefault(name, {}), key.removesuffix("]"), value, name)
        elif value.strip():
            _put(values, name, value if name == "prompt" else value.strip(), name)
    return values, unknown


def _put(values: dict[str, Any] | str, key: str, value: str, name: str) -> None:
    if isinstance(values, str):
        raise InvalidOption(f"{name} is given both as a text and in single fields.", param=name)
    if values.setdefault(key, value) != value:
        raise InvalidOption(f"{name} is given more than once, with different values.", param=name)


def _conflict(param: str, reason: str) -> InvalidOption:
    return InvalidOption(f"{param} {reason}.", param=param)


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"

"""The form of whisper.cpp's server, in the words of ours."""

from collections.abc import Iterator, Mapping

from auricle.errors import InvalidOption, UnsupportedOption
from auricle.server.receive import audio_form

_SAME = {"language", "prompt", "temperature", "response_format", "beam_size", "vad", "model"}
_OTHER = {"logprob_thold": "logprob_threshold", "no_speech_thold": "no_speech_threshold"}
_VAD = {
    "vad_threshold": "threshold",
    "vad_min_silence_duration_ms": "silence_duration_ms",
    "vad_speech_pad_ms": "prefix_padding_ms",
}
_CUTS = ("offset_t", "duration")
_STEP = "0.2"
"""Between temperatures, where a request names none."""
_LEAST_STEP = 0.05
_DESCRIPTIONS = {
    "temperature": "Temperature of the first try.",
    "temperature_inc": "Step to the next temperature where the text fails the checks; 0 tries once.",
    "response_format": "`json`, `text`, `srt`, `verbose_json`, `vtt`.",
    "language": "Language of the audio; detected without it, or with `auto`.",
    "translate": "`true` translates into English.",
    "prompt": "Text that comes before the audio.",
    "beam_size": "1 is greedy, faster.",
    "vad": "Find speech first.",
    "no_speech_thold": "As `no_speech_threshold` of `/v1/audio/transcriptions`.",
    "logprob_thold": "As `logprob_threshold` there.",
}
_FIELDS = {name: {"type": "string", "description": text} for name, text in _DESCRIPTIONS.items()}
FORM_SCHEMA = audio_form("file", _FIELDS)
"""For OpenAPI."""


def own_fields(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The fields that mean something here, by our names. Raises UnsupportedOption for a part of a file."""
    for name in _CUTS:
        if given.get(name, "0") not in {"", "0"}:
            raise UnsupportedOption(f"{name}: a part of a file cannot be asked for; cut the audio.", param=name)
    has_vad = is_true(given, "vad")
    for name, value in given.items():
        if name == "language" and is_true(given, "detect_language"):
            continue
        # -1 is whisper.cpp's word for its own default.
        if name in _SAME and (name, value) != ("beam_size", "-1"):
            yield name, value
        elif name in _OTHER:
            yield _OTHER[name], value
        elif name in _VAD and has_vad and value:
            yield "chunking_strategy[type]", "server_vad"
            yield f"chunking_strategy[{_VAD[name]}]", value


def is_true(given: Mapping[str, str], name: str) -> bool:
    """Whether a field says yes; whatever it says else is no."""
    return given.get(name, "").lower() in {"true", "1"}


def temperatures(first: float, given: Mapping[str, str]) -> tuple[float, ...]:
    """What to try one after the other. Raises InvalidOption for a step that makes no sense."""
    text = given.get("temperature_inc") or _STEP
    try:
        step = float(text)
    except ValueError:
        step = -1.0
    if step == 0:
        return (first,)
    if not _LEAST_STEP <= step <= 1:
        raise InvalidOption(
            f"temperature_inc: must be 0, or {_LEAST_STEP} to 1. Given: {text[:40]!r}", param="temperature_inc"
        )
    count = 1 + int((1 - first) / step + 1e-6)
    return tuple(round(first + index * step, 6) for index in range(count))

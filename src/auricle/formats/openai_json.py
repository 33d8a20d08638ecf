"""The JSON bodies of OpenAI's audio API, and the parts of them that its event stream needs too."""

import json
import math
from collections.abc import Iterable
from typing import Any

from auricle.formats.options import FormatOptions
from auricle.tokenizer import LANGUAGES
from auricle.types import STAGES, Segment, Transcript, Word
from auricle.units import FRAME_RATE

UNKNOWN_SPEAKER = "unknown"
"""Clients want a string even where speakers were not told apart."""

UNKNOWN_LANGUAGE = "unknown"
"""Clients want a string even where nothing was said."""


def render_json(transcript: Transcript, options: FormatOptions) -> str:
    """``{text, languages, logprobs?, usage}``."""
    body: dict[str, Any] = {"text": transcript.text.strip(), "languages": detected_languages(transcript)}
    if options.logprobs:
        body["logprobs"] = token_logprobs(transcript.segments)
    body["usage"] = usage(transcript)
    return _dump(body)


def render_verbose_json(transcript: Transcript, options: FormatOptions) -> str:
    """``{task, language, duration, text, segments?, words?, usage}`` and our own remarks under ``x_auricle``."""
    code = "en" if transcript.task == "translate" else transcript.language
    body: dict[str, Any] = {
        "task": transcript.task,
        "language": LANGUAGES.get(code, code) if code else UNKNOWN_LANGUAGE,
        "duration": _number(transcript.duration, 3),
        "text": transcript.text.strip(),
    }
    if options.segments:
        body["segments"] = [segment_object(segment) for segment in transcript.segments]
    if options.words:
        body["words"] = [word_object(word) for word in transcript.words]
    body["usage"] = usage(transcript)
    body["x_auricle"] = _remarks(transcript)
    return _dump(body)


def render_diarized_json(transcript: Transcript, options: FormatOptions) -> str:
    """``{task, duration, text, segments, usage}``; each segment has one speaker."""
    return _dump(
        {
            "task": transcript.task,
            "duration": _number(transcript.duration, 3),
            "text": transcript.text.strip(),
            "segments": [diarized_segment(segment) for segment in transcript.segments],
            "usage": usage(transcript),
        }
    )


def usage(transcript: Transcript) -> dict[str, Any]:
    """Audio seconds, rounded up: clients type the field as a float or as an int, and a whole number suits both."""
    return {"type": "duration", "seconds": math.ceil(transcript.duration)}


def detected_languages(transcript: Transcript) -> list[dict[str, str]]:
    """``[{code}]``: the transcript's language, then others that single segments are in."""
    codes = [transcript.language, *(segment.language for segment in transcript.segments)]
    return [{"code": code} for code in dict.fromkeys(codes) if code]


def token_logprobs(segments: Iterable[Segment]) -> list[dict[str, Any]]:
    """``[{token, bytes, logprob}]`` of all segments in order."""
    return [
        {"token": entry.token, "bytes": list(entry.bytes), "logprob": _number(entry.logprob, 6)}
        for segment in segments
        for entry in segment.logprobs or ()
    ]


def segment_object(segment: Segment) -> dict[str, Any]:
    """A segment as ``verbose_json`` has it."""
    return {
        "id": segment.id,
        # openai/whisper gives the frame where its window began; a client can only use it as a position in the file.
        "seek": math.floor(segment.start * FRAME_RATE),
        "start": _number(segment.start, 3),
        "end": _number(segment.end, 3),
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": _number(segment.temperature, 3),
        "avg_logprob": _number(segment.avg_logprob, 6),
        "compression_ratio": _number(segment.compression_ratio, 6),
        "no_speech_prob": _number(segment.no_speech_prob, 6),
        **_speaker(segment),
    }


def diarized_segment(segment: Segment) -> dict[str, Any]:
    """A segment as ``diarized_json`` has it, and an event of a stream."""
    return {
        "type": "transcript.text.segment",
        "id": f"seg_{segment.id}",
        "start": _number(segment.start, 3),
        "end": _number(segment.end, 3),
        "speaker": segment.speaker or UNKNOWN_SPEAKER,
        "text": segment.text,
    }


def word_object(word: Word) -> dict[str, Any]:
    """A word as ``verbose_json`` has it."""
    return {
        "word": word.word.strip(),
        "start": _number(word.start, 3),
        "end": _number(word.end, 3),
        "probability": _number(word.probability, 4),
        **_speaker(word),
    }


def _speaker(part: Segment | Word) -> dict[str, str]:
    return {} if part.speaker is None else {"speaker": part.speaker}


def _remarks(transcript: Transcript) -> dict[str, Any]:
    timings = transcript.timings
    seconds = (*STAGES, "total", "audio", "rtfx")
    counts = ("windows", "fallbacks", "max_batch")
    probability = transcript.language_probability
    return {
        "language_code": transcript.language,
        "language_probability": None if probability is None else _number(probability, 4),
        "warnings": list(transcript.warnings),
        "dropped": [
            {"start": _number(span.start, 3), "end": _number(span.end, 3), "reason": span.reason}
            for span in transcript.dropped
        ],
        "timings": {name: _number(getattr(timings, name), 4) for name in seconds}
        | {name: getattr(timings, name) for name in counts},
    }


def _number(value: float, digits: int) -> float:
    """Rounded, and never NaN or infinite, which JSON cannot say; -9999.0 is OpenAI's word for "impossible"."""
    return round(float(value), digits) if math.isfinite(value) else -9999.0


def _dump(body: dict[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

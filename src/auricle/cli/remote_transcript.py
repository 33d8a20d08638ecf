"""The ``verbose_json`` of a server back into a Transcript, from which every format can be written here."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from auricle.errors import EngineError, InvalidOption
from auricle.tokenizer import parse_language
from auricle.types import Dropped, Segment, Timings, Transcript, Word


def parse_transcript(body: dict[str, Any]) -> Transcript:
    """Raises EngineError where ``body`` is not ``verbose_json``. The remarks of an Auricle server are optional."""
    try:
        return _parse(body)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EngineError(f"the server's answer is not verbose_json: {error!r}") from error


def _parse(body: dict[str, Any]) -> Transcript:
    remarks: dict[str, Any] = body.get("x_auricle") or {}
    dropped: list[dict[str, Any]] = remarks.get("dropped") or []
    warnings: list[str] = remarks.get("warnings") or []
    task = "translate" if body["task"] == "translate" else "transcribe"
    code = remarks["language_code"] if "language_code" in remarks else _language_code(str(body["language"]))
    timings: dict[str, Any] = remarks.get("timings") or {}
    return Transcript(
        text=str(body["text"]),
        segments=_segments(body["segments"], body.get("words")),
        language=code,
        duration=float(body["duration"]),
        task=task,
        language_probability=remarks.get("language_probability"),
        dropped=tuple(Dropped(start=span["start"], end=span["end"], reason=span["reason"]) for span in dropped),
        warnings=tuple(str(warning) for warning in warnings),
        timings=Timings(**{field.name: timings[field.name] for field in fields(Timings) if field.name in timings}),
    )


def _segments(entries: Iterable[dict[str, Any]], words: Iterable[dict[str, Any]] | None) -> tuple[Segment, ...]:
    left = None if words is None else list(words)
    return tuple(
        Segment(
            id=entry["id"],
            start=float(entry["start"]),
            end=float(entry["end"]),
            text=str(entry["text"]),
            tokens=tuple(entry["tokens"]),
            temperature=float(entry["temperature"]),
            avg_logprob=float(entry["avg_logprob"]),
            compression_ratio=float(entry["compression_ratio"]),
            no_speech_prob=float(entry["no_speech_prob"]),
            speaker=entry.get("speaker"),
            words=None if left is None else _take_words(str(entry["text"]), left),
        )
        for entry in entries
    )


def _take_words(text: str, left: list[dict[str, Any]]) -> tuple[Word, ...]:
    """The next words of ``left`` that stand in ``text``, with the space that precedes them there."""
    taken: list[Word] = []
    position = 0
    while left:
        word = str(left[0]["word"])
        found = text.find(word, position)
        if found < 0 or text[position:found].strip():
            break
        end = found + len(word)
        entry = left.pop(0)
        taken.append(
            Word(
                word=text[position:end],
                start=float(entry["start"]),
                end=float(entry["end"]),
                probability=float(entry.get("probability", 0.0)),
                speaker=entry.get("speaker"),
            )
        )
        position = end
    return tuple(taken)


def _language_code(name: str) -> str | None:
    try:
        return parse_language(name)
    except InvalidOption:
        return None

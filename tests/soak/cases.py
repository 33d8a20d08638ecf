"""Requests of a soak, and what is a right answer to each."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import httpx
from tests.soak.recordings import CLIPS, LONG, MINUTE, bad_files

TRANSCRIBE = "/v1/audio/transcriptions"
TRANSLATE = "/v1/audio/translations"

STEADY = {"logprob_threshold": "-50", "compression_ratio_threshold": "50"}
"""Keeps the temperature ladder away, whose texts are drawn by chance."""

_FORMATS = ("json", "text", "srt", "vtt", "tsv", "verbose_json", "words", "stream")
_BUSY_CODES = {"queue_full", "memory_pressure", "busy", "model_loading"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A request that is always answered the same; ``status`` and ``code`` are those of the error where one is due."""

    kind: str
    file: str | None
    fields: Mapping[str, str | list[str]] = field(default_factory=dict[str, "str | list[str]"])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    path: str = TRANSCRIBE
    status: int = 200
    code: str | None = None

    @property
    def key(self) -> str:
        """Tells cases apart, and is enough to send one again."""
        return json.dumps([self.path, self.file, dict(self.fields), dict(self.headers)])


def right_cases() -> dict[str, list[Case]]:
    """Cases with a transcript, by kind; the first of a file brings all that the others of it need."""
    files = [*((name, language, {}) for name, language in CLIPS.items()), (MINUTE, "en", {})]
    files += [(name, "en", {"beam_size": "1"}) for name in LONG]
    found: dict[str, list[Case]] = {}
    for name, language, extra in files:
        fields = {"language": language, **STEADY, **extra}
        length = "long" if name in LONG else "minute" if name == MINUTE else "clip"
        for shape in ("words", *(other for other in _FORMATS if other != "words")):
            found.setdefault(length, []).append(Case(kind=f"{length}_{shape}", file=name, fields=fields | _asks(shape)))
        if language != "en":
            found.setdefault("translation", []).append(
                Case(kind="translation", file=name, fields=fields, path=TRANSLATE)
            )
    return found


def wrong_cases() -> list[Case]:
    """Cases that are refused, each for a reason of its own."""
    clip = "01_en_slt"
    files = [
        Case(kind=f"bad_{name}", file=name, status=status, code=code) for name, (_, status, code) in bad_files().items()
    ]
    fields: list[tuple[str, Mapping[str, str | list[str]], int, str]] = [
        ("format", {"response_format": "pdf"}, 400, "invalid_option"),
        ("temperature", {"temperature": "7"}, 400, "invalid_option"),
        ("language", {"language": "klingon"}, 400, "invalid_option"),
        ("granularity", {"timestamp_granularities[]": "word"}, 400, "invalid_option"),
        ("speakers", {"num_speakers": "0"}, 400, "invalid_option"),
        ("prompt", {"prompt": "a\x00b"}, 400, "invalid_option"),
        ("realtime", {"priority": "realtime"}, 400, "invalid_option"),
        ("model", {"model": "no-such-model"}, 404, "model_not_found"),
    ]
    return [
        *files,
        *(
            Case(kind=f"bad_field_{name}", file=clip, fields=given, status=status, code=code)
            for name, given, status, code in fields
        ),
        Case(kind="bad_field_file", file=None, fields={"model": "whisper-1"}, status=400, code="invalid_option"),
    ]


def late_case() -> Case:
    """Cannot be done in its time."""
    headers = {"x-auricle-deadline": "0.01", "cache-control": "no-store"}
    fields = {"language": "en", **STEADY, "beam_size": "1"}
    return Case(kind="late", file="long_240s", fields=fields, headers=headers, status=504, code="deadline_exceeded")


def content_of(case: Case, response: httpx.Response) -> object:
    """The part of a right answer that has to be the same each time. Raises ValueError where it has not the form."""
    if case.fields.get("stream"):
        return _streamed(response.text)
    shape = case.fields.get("response_format", "json")
    if shape not in {"json", "verbose_json"}:
        return response.text
    body = response.json()
    if shape == "json":
        return body["text"]
    segments = [[one["start"], one["end"], one["text"]] for one in body.get("segments", ())]
    words = [one["word"] for one in body.get("words", ())]
    return [body["text"], segments, words]


def refusal_of(response: httpx.Response) -> str | None:
    """The code of a refusal as it has to be, with a time to try again; None for any other answer.

    A stream that has begun has its status already: an event tells that the model was taken away.
    """
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        code = stream_error(response)
        return code if code in _BUSY_CODES else None
    if response.status_code not in {429, 503}:
        return None
    wait = response.headers.get("retry-after", "")
    code = error_code(response)
    return code if wait.isdigit() and 1 <= int(wait) <= 600 and code in _BUSY_CODES else None


def error_code(response: httpx.Response) -> str | None:
    """``error.code`` of the body, or None where it has none."""
    try:
        body = response.json()
    except ValueError:
        return None
    error = body.get("error") if isinstance(body, dict) else None
    return error.get("code") if isinstance(error, dict) else None


def stream_error(response: httpx.Response) -> str | None:
    """``error.code`` of an event, for streams that began well."""
    codes = [(event["error"] or {}).get("code") for event in _events(response.text) if "error" in event]
    return codes[0] if codes else None


def _asks(shape: str) -> dict[str, str | list[str]]:
    if shape == "words":
        return {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]}
    return {"stream": "true"} if shape == "stream" else {"response_format": shape}


def _events(text: str) -> Iterator[dict]:
    for line in text.splitlines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))


def _streamed(text: str) -> str:
    events = list(_events(text))
    deltas = "".join(event["delta"] for event in events if event.get("type") == "transcript.text.delta")
    last = events[-1] if events else {}
    if last.get("type") != "transcript.text.done" or last["text"] != deltas or not text.rstrip().endswith("[DONE]"):
        raise ValueError("the events do not add up to a transcript")
    return deltas

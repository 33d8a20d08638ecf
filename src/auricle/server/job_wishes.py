"""What a client asks for in a job, in a form or in JSON, taken apart and checked as far as it says by itself."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from auricle.errors import InvalidOption
from auricle.job_types import WebhookTarget
from auricle.server.job_results import FORMAT_FIELDS
from auricle.server.schemas import form_schema
from auricle.types import Task

MAX_METADATA_BYTES = 16_384
MAX_METADATA_DEPTH = 8
MAX_KEY_CHARACTERS = 255

_OWN = ("url", "audio", "task", "webhook", "metadata", "idempotency_key")
"""What a job has beside the fields of a transcription."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobWish:
    """One job, as it was sent."""

    fields: tuple[tuple[str, str], ...]
    """Those of OpenAI's form, with our additions."""
    task: Task = "transcribe"
    url: str | None = None
    audio: str | None = None
    """In base64, or as a ``data:`` URL."""
    webhook: WebhookTarget | None = None
    """Its address is not checked yet."""
    metadata: dict[str, Any] | None = None
    idempotency_key: str | None = None


class _Webhook(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    url: str
    headers: dict[str, str] = Field(default_factory=dict)
    secret: Annotated[str, Field(max_length=200)] | None = None


def wish_of_form(fields: Iterable[tuple[str, str]]) -> JobWish:
    """Raises InvalidOption that names the field."""
    own: dict[str, Any] = {}
    rest: list[tuple[str, str]] = []
    for name, value in fields:
        if name not in _OWN:
            rest.append((name, value))
        elif value.strip() and own.setdefault(name, value) != value:
            raise InvalidOption(f"{name} is given more than once, with different values.", param=name)
    if isinstance(metadata := own.get("metadata"), str):
        own["metadata"] = _json(metadata, "metadata")
    return _wish(own, rest)


def wish_of_json(document: Mapping[str, Any]) -> JobWish:
    """Raises InvalidOption that names the field."""
    own = {name: document[name] for name in _OWN if document.get(name) is not None}
    for name in ("url", "audio", "task", "idempotency_key"):
        if not isinstance(own.get(name, ""), str):
            raise InvalidOption(f"{name} must be a text.", param=name)
    rest = [field for name, value in document.items() if name not in _OWN for field in _as_fields(name, value)]
    return _wish(own, rest)


def check_idempotency_key(key: str | None) -> str | None:
    """Raises InvalidOption for one that is empty, long, or not of printable ASCII."""
    if key is None or (0 < len(key) <= MAX_KEY_CHARACTERS and key.isascii() and key.isprintable()):
        return key
    raise InvalidOption(
        f"The idempotency key must be 1 to {MAX_KEY_CHARACTERS} printable ASCII characters, such as a UUID.",
        param="idempotency_key",
    )


def job_properties(*, in_json: bool) -> dict[str, Any]:
    """For OpenAPI: the fields of a job besides its audio."""
    form = form_schema()["content"]["multipart/form-data"]["schema"]["properties"]
    left_out = {"file", "stream", "deadline_s", *FORMAT_FIELDS} - {"timestamp_granularities", "include"}
    fields = {name.removesuffix("[]") if in_json else name: one for name, one in form.items() if name not in left_out}
    if not in_json:
        # A form holds texts only.
        return fields | _PROPERTIES | {"metadata": _JSON_TEXT | {"description": _PROPERTIES["metadata"]["description"]}}
    return fields | _PROPERTIES


def _wish(own: dict[str, Any], rest: list[tuple[str, str]]) -> JobWish:
    task = own.get("task", "transcribe").strip()
    if task not in ("transcribe", "translate"):
        raise InvalidOption(f"task is {task[:40]!r}; it must be 'transcribe' or 'translate'.", param="task")
    names = {name.removesuffix("[]") for name, _ in rest}
    if "timestamp_granularities" in names and "response_format" not in names:
        # A job has no format: that is chosen when its result is fetched.
        rest = [*rest, ("response_format", "verbose_json")]
    return JobWish(
        fields=tuple(rest),
        task=task,
        url=own["url"].strip() if "url" in own else None,
        audio=own.get("audio"),
        webhook=read_webhook(own["webhook"]) if "webhook" in own else None,
        metadata=_metadata(own["metadata"]) if "metadata" in own else None,
        idempotency_key=check_idempotency_key(own.get("idempotency_key")),
    )


def read_webhook(value: object) -> WebhookTarget:
    """A URL, an object, or an object in JSON. Raises InvalidOption, which repeats no secret."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = _json(value, "webhook")
    if isinstance(value, str):
        value = {"url": value.strip()}
    try:
        found = _Webhook.model_validate(value)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(["webhook", *(str(part)[:40] for part in first["loc"])])
        raise InvalidOption(
            f"{place}: {first['msg']}. A webhook is a URL, or an object with url, headers and secret.", param=place
        ) from exc
    return WebhookTarget(url=found.url, headers=found.headers, secret=found.secret)


def _metadata(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidOption("metadata must be a JSON object.", param="metadata")
    found = cast("dict[str, Any]", value)
    if _depth(found, MAX_METADATA_DEPTH + 1) > MAX_METADATA_DEPTH:
        raise InvalidOption(f"metadata is nested deeper than {MAX_METADATA_DEPTH} levels.", param="metadata")
    try:
        size = len(json.dumps(found, allow_nan=False))
    except ValueError as exc:
        raise InvalidOption("metadata holds a number that JSON cannot carry.", param="metadata") from exc
    if size > MAX_METADATA_BYTES:
        raise InvalidOption(
            f"metadata has {size} bytes; at most {MAX_METADATA_BYTES} are kept with a job.", param="metadata"
        )
    return found


def _depth(value: object, limit: int) -> int:
    """Levels of objects and lists in ``value``, counted up to ``limit``."""
    if limit == 0 or not isinstance(value, dict | list):
        return 0
    inner = cast("dict[str, object]", value).values() if isinstance(value, dict) else cast("list[object]", value)
    return 1 + max((_depth(one, limit - 1) for one in inner), default=0)


def _json(text: str, param: str) -> object:
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError as exc:
        raise InvalidOption(f"{param} cannot be read as JSON: {exc}.", param=param) from exc


def _as_fields(name: str, value: object) -> Iterator[tuple[str, str]]:
    """A value of JSON as the form has it."""
    if value is None:
        return
    if isinstance(value, list):
        yield from ((f"{name}[]", _text(name, one)) for one in cast("list[object]", value))
    elif isinstance(value, dict):
        if name != "chunking_strategy":
            raise InvalidOption(f"{name[:40]} must not be an object.", param=name[:40])
        yield name, json.dumps(value)
    else:
        yield name, _text(name, value)


def _text(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    raise InvalidOption(f"{name[:40]} holds a value of a kind that does not fit.", param=name[:40])


_JSON_TEXT: dict[str, Any] = {"type": "string", "contentMediaType": "application/json"}
_WEBHOOK_OBJECT: dict[str, Any] = {
    "type": "object",
    "required": ["url"],
    "properties": {
        "url": {"type": "string"},
        "headers": {"type": "object", "additionalProperties": {"type": "string"}},
        "secret": {"type": "string", "description": "`whsec_` and 24 to 64 bytes in base64; signs the message."},
    },
}
_PROPERTIES: dict[str, Any] = {
    "url": {"type": "string", "description": "Where the server fetches the audio, in place of a file."},
    "task": {
        "type": "string",
        "enum": ["transcribe", "translate"],
        "default": "transcribe",
        "description": "`translate` writes English.",
    },
    "webhook": {
        "anyOf": [{"type": "string"}, _WEBHOOK_OBJECT],
        "description": "Who is told when the job ends: a URL, or an object, in a form as JSON.",
    },
    "metadata": {
        "type": "object",
        "description": f"Given back with the job: an object of up to {MAX_METADATA_BYTES} bytes, in a form as JSON.",
    },
    "idempotency_key": {
        "type": "string",
        "maxLength": MAX_KEY_CHARACTERS,
        "description": "As the header `Idempotency-Key`: the same request with the same key makes one job.",
    },
}

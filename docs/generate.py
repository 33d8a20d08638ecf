"""Writes docs/reference from the code: ``python docs/generate.py``. A test keeps the pages up to date."""

import inspect
import json
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from prometheus_client.metrics import MetricWrapperBase
from typer.main import get_command

from auricle import errors
from auricle.batching.metrics import Metrics
from auricle.cli.exit_codes import MEANINGS, exit_code
from auricle.cli.main import app as command_line
from auricle.cli.settings_flags import ENV_PREFIX, flag_name
from auricle.config import Settings
from auricle.formats.options import FormatOptions
from auricle.formats.registry import FORMATS, SPEAKERS_FORMAT
from auricle.server.app import create_app
from auricle.server.errors import STATUS
from auricle.server.metrics import server_gauges
from auricle.types import Segment, Timings, Transcript, Word

FOLDER = Path(__file__).parent / "reference"
_NOTE = "<!-- Made by docs/generate.py; change the code and run it again. -->"


def settings_page() -> str:
    """One row for each field of Settings."""
    rows = [
        (
            f"`{ENV_PREFIX}{name.upper()}`",
            _flags(name, schema),
            _describe_type(schema),
            _default(name),
            schema["description"],
        )
        for name, schema in Settings.model_json_schema()["properties"].items()
    ]
    return _page(
        "Settings",
        "Each setting is an environment variable and a flag of `auricle serve`; the flag wins. Other commands take "
        "those of the flags that concern them. No configuration file is read.",
        _table(("Variable", "Flag", "Type", "Default", "What it does"), rows),
    )


def cli_page() -> str:
    """Every command with its arguments and flags."""
    root: Any = get_command(command_line)
    parts = [
        "Results go to standard output; progress, notes and errors to standard error.",
        _command("auricle", root),
    ]
    for name, command in root.commands.items():
        children = getattr(command, "commands", {})
        if not children:
            parts.append(_command(f"auricle {name}", command))
        parts += [_command(f"auricle {name} {child}", below) for child, below in children.items()]
    codes = _table(("Code", "Meaning"), [(f"`{code}`", meaning) for code, meaning in MEANINGS.items()])
    return _page("Command line", *parts, "(exit-codes)=\n## Exit codes", codes)


def http_page() -> str:
    """Every route, from the OpenAPI description of the application."""
    with tempfile.TemporaryDirectory() as folder:
        api = create_app(Settings(engine="fake", model="nano", data_dir=Path(folder))).openapi()
    parts = [
        "A running server shows its routes, with forms to try them, at `/docs`, and describes them for machines at "
        "`/openapi.json`.",
        "A server with [keys](../how-to/public-server.md) needs one with every request, but for `/health…`, `/docs` "
        "and `/openapi.json`; all others answer 401 without, and 429 where the limit of a key is reached.",
        "Every answer carries `x-request-id` (the one that was sent, or a new one) and `openai-processing-ms`. "
        "Errors are described under [Errors](errors.md), bodies under [Formats](formats.md).",
    ]
    forms: dict[str, str] = {}
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            parts.append(f"## {method.upper()} {path}\n\n{_describe_operation(operation)}")
            if query := [one for one in operation.get("parameters", ()) if one["in"] == "query"]:
                parts.append(_query(query))
            if "requestBody" in operation:
                parts.append(_form(operation["requestBody"], path, forms))
            if operation["responses"].keys() - {"200", "default"}:
                parts.append(_responses(operation["responses"]))
    parts.append("What `GET /metrics` tells is listed under [Metrics](metrics.md).")
    return _page("HTTP API", *parts)


def errors_page() -> str:
    """Every error class with what each interface makes of it."""
    rows: list[Sequence[str]] = []
    for kind in all_errors():
        status, family = STATUS[kind]
        retry = "yes" if kind.retryable else "no"
        code = str(exit_code(kind("")))
        rows.append((kind.__name__, _code(kind.code), str(status), _code(family), code, retry, _first_line(kind)))
    unused = sorted(_code(kind.__name__) for kind in all_errors() if not kind.__subclasses__() and not _is_raised(kind))
    example = {"error": {"message": "…", "type": "invalid_request_error", "param": "model", "code": "model_not_found"}}
    return _page(
        "Errors",
        "Every error of the HTTP API has the envelope of OpenAI's API, but for the routes of "
        "[other servers](../how-to/move-from-another-server.md), which have theirs. `message` says what was wrong and "
        "what to do, `code` is stable and meant for programs, `param` names the field at fault.",
        f"```json\n{json.dumps(example, ensure_ascii=False)}\n```",
        _table(("Class", "`code`", "HTTP status", "`type`", "Exit code", "Retry?", "When"), rows),
        f"Nothing raises {', '.join(unused)} yet; they are kept for features to come.",
        "Answers with status 429 and 503, and `job_not_finished`, carry `retry-after` in seconds. Every error of this "
        "table with a status from 429 on carries `x-should-retry`, which the official OpenAI clients obey; with 504 it "
        "says `false`, since what ran out of time once would only do so again. In an event stream an error after the "
        "answer has begun comes as an event with the same envelope, and the stream ends without `[DONE]`.",
        "A defect of the server is answered with status 500 and `code` `internal_error`; the server's log has the "
        "details beside the request id. Exit codes are explained under [Command line](cli.md#exit-codes).",
    )


def metrics_page() -> str:
    """Every metric of ``GET /metrics``."""
    labels = _label_names()
    rows = [
        (
            _code(one.name + "_total" if one.type == "counter" else one.name),
            one.type,
            ", ".join(_code(label) for label in labels.get(one.name, ())),
            one.documentation,
        )
        for one in (*Metrics().registry.collect(), *server_gauges())
    ]
    return _page(
        "Metrics",
        "What `GET /metrics` gives in the text format of Prometheus. How to use it is told under "
        "[Watch a server](../how-to/monitor.md). Labels hold routes, models that were loaded, and names of fixed sets, "
        "never what a client sent, so that their number is bounded. A histogram has the series `_bucket`, `_sum` and "
        "`_count`.",
        _table(("Name", "Type", "Labels", "What it tells"), rows),
        "Where the header `Accept` prefers `application/json`, the answer is a summary of the requests for a "
        "transcript since the server started: `total_requests`, `accepted_requests`, `rejected_requests` and "
        "`avg_processing_time_ms` (of those that got a transcript).",
    )


def formats_page() -> str:
    """Every format with its media type and what it makes of one example."""
    rows = [
        (f"`{name}`", f"`{form.media_type}`", f"`{form.suffix}`", _first_line(form.write))
        for name, form in FORMATS.items()
    ]
    parts = [
        "`response_format` of the HTTP API and `--format` of `auricle transcribe` take these names.",
        _table(("Name", "Media type", "File name ends in", "What it holds"), rows),
    ]
    languages = {"json": "json", "verbose_json": "json", "diarized_json": "json"}
    for name, form in FORMATS.items():
        example = _example(speaker="A" if name == SPEAKERS_FORMAT else None)
        body = form.write(example, FormatOptions(words=True)).rstrip()
        if name in languages:
            body = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
        parts.append(f"## {name}\n\n```{languages.get(name, 'text')}\n{body}\n```")
    parts.append(
        "`words` is there where word times were asked for (`timestamp_granularities[]=word`, `--words`). `x_auricle` "
        "is an addition: what was left out of the text and why, warnings, and where the time went, in seconds."
    )
    parts.append(
        "Where [speakers were told apart](../how-to/who-spoke.md), `srt` begins each segment with `A: `, `vtt` each "
        "cue with `<v A>`, `tsv` has a column `speaker` behind the text, and `verbose_json` a key `speaker` in "
        "segments and words. `text` and `json` stay as they are."
    )
    return _page("Formats", *parts)


def pages() -> dict[str, str]:
    """File name below ``docs/reference`` -> text."""
    return {
        "settings.md": settings_page(),
        "cli.md": cli_page(),
        "http-api.md": http_page(),
        "errors.md": errors_page(),
        "metrics.md": metrics_page(),
        "formats.md": formats_page(),
    }


def all_errors(root: type[errors.AuricleError] = errors.AuricleError) -> list[type[errors.AuricleError]]:
    """The tree of errors, parents first."""
    return [root, *(found for child in root.__subclasses__() for found in all_errors(child))]


def _command(name: str, command: Any) -> str:
    arguments = [p for p in command.params if not p.opts[0].startswith("-")]
    options = [p for p in command.params if p.opts[0].startswith("-") and not p.hidden]
    usage = " ".join([name, "[OPTIONS]", *(f"{p.metavar}…" for p in arguments)])
    if hasattr(command, "commands"):
        usage += " COMMAND"
    parts = [f"## {name}", f"```text\n{usage}\n```"]
    for paragraph in inspect.cleandoc(command.help).split("\n\n"):
        is_example = paragraph.startswith("\b")
        parts.append(f"```sh\n{paragraph[1:].strip()}\n```" if is_example else " ".join(paragraph.split()))
    rows = [(_code(p.metavar), "", p.help) for p in arguments] + [_option(p) for p in options]
    return "\n\n".join([*parts, _table(("Flag", "Default", "What it does"), rows)])


def _option(option: Any) -> tuple[str, str, str]:
    names = ", ".join(_code(name) for name in (*option.opts, *option.secondary_opts))
    metavar = f" {_code(option.metavar)}" if option.metavar else ""
    shown = option.show_default if isinstance(option.show_default, str) else option.default
    has_default = shown is not None and shown is not False and not option.is_eager
    return names + metavar, _code("yes" if shown is True else shown) if has_default else "", option.help


def _describe_operation(operation: Any) -> str:
    summary = operation["summary"] + ("" if operation["summary"].endswith("?") else ".")
    return f"{summary} {operation.get('description', '')}".replace("``", "`").strip()


def _form(body: Any, path: str, seen: dict[str, str]) -> str:
    content = body["content"]
    is_form = "multipart/form-data" in content
    schema = content["multipart/form-data" if is_form else "application/json"]["schema"]
    is_list = schema["type"] == "array"
    schema = schema["items"] if is_list else schema
    rows: list[Sequence[str]] = []
    for name, field in schema["properties"].items():
        label = _code(name) + (" (required)" if name in schema.get("required", ()) else "")
        rows.append((label, _describe_type(field), field["description"]))
    table = _table(("Form field" if is_form else "JSON key", "Type", "What it does"), rows)
    if is_list:
        table = f"The body is a list of objects with these keys.\n\n{table}"
    if table in seen:
        return f"The body is that of [{seen[table]}](#{_anchor('POST ' + seen[table])})."
    seen[table] = path
    return table


def _query(parameters: Sequence[Any]) -> str:
    rows = [(_code(one["name"]), _describe_type(one["schema"]), one.get("description", "")) for one in parameters]
    return _table(("Query parameter", "Type", "What it does"), rows)


def _responses(responses: Any) -> str:
    # 422 is declared by the framework; validation errors are answered with 400.
    rows = [
        (_code(status), ", ".join(_code(kind) for kind in answer.get("content", {})), answer["description"])
        for status, answer in sorted(responses.items())
        if status != "422"
    ]
    return _table(("Status", "Body", "Meaning"), rows)


def _label_names() -> dict[str, Sequence[str]]:
    """Labels by name of the metric; prometheus_client tells them only in private."""
    counted = [one for one in vars(Metrics()).values() if isinstance(one, MetricWrapperBase)]
    found: dict[str, Sequence[str]] = {one._name: one._labelnames for one in counted}
    gauges: list[Any] = [*server_gauges()]
    return found | {one.name: one._labelnames for one in gauges}


def _describe_type(schema: Any) -> str:
    """A JSON schema in few words."""
    if "anyOf" in schema:
        return " or ".join(_describe_type(kind) for kind in schema["anyOf"] if kind.get("type") != "null")
    if "enum" in schema or "const" in schema:
        return ", ".join(_code(choice) for choice in schema.get("enum", [schema.get("const")]))
    describe = {"array": _describe_list, "object": _describe_object}.get(schema["type"], _describe_value)
    return describe(schema)


def _describe_list(schema: Any) -> str:
    items = schema["items"]
    if items.get("type") == "object":
        return "list of objects"
    if items.keys() & {"enum", "const"}:
        return "list of " + _describe_type(items)
    return "list of numbers" if items.get("type") == "integer" else "list of texts"


def _describe_object(schema: Any) -> str:
    fields = ", ".join(_code(name) for name in schema.get("properties", ()))
    if fields:
        return f"object ({fields})"
    return "`name=model,…`" if "additionalProperties" in schema else "object"


def _describe_value(schema: Any) -> str:
    words = {"integer": "whole number", "boolean": "`true`, `false`", "string": "text", "number": "number"}
    name = {"binary": "file", "path": "folder"}.get(schema.get("format", ""), words[schema["type"]])
    bounds = [f"{word} {schema[key]:g}" for key, word in _BOUNDS.items() if key in schema]
    return ", ".join([name, *bounds])


_BOUNDS = {"minimum": "at least", "exclusiveMinimum": "over", "maximum": "at most", "exclusiveMaximum": "under"}


def _default(name: str) -> str:
    value = Settings.model_fields[name].get_default(call_default_factory=True, validated_data={})
    if isinstance(value, Path):
        return f"`~/{value.relative_to(Path.home())}`"
    if isinstance(value, bool):
        return _code(str(value).lower())
    if isinstance(value, float):
        return f"`{value:g}`"
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    return "" if value == {} or not text else _code(text)


def _flags(name: str, schema: Any) -> str:
    flag = flag_name(name)
    return f"`{flag}`, `--no-{flag[2:]}`" if schema.get("type") == "boolean" else _code(flag)


def _is_raised(kind: type[errors.AuricleError]) -> bool:
    source = Path(inspect.getfile(errors)).parent
    call = re.compile(rf"\b{kind.__name__}\(")
    return any(call.search(path.read_text("utf-8")) for path in source.rglob("*.py") if path.name != "errors.py")


def _example(speaker: str | None = None) -> Transcript:
    timings = Timings(
        decode=0.002, vad=0.003, features=0.004, inference=0.11, total=0.12, audio=1.2, windows=1, max_batch=1
    )
    words = [("Turn", 0.3, 0.52), ("left.", 0.52, 0.9)]
    first = Segment(
        id=0,
        start=0.3,
        end=0.9,
        text=" Turn left.",
        tokens=(50379, 7956, 1411, 13, 50409),
        avg_logprob=-0.21,
        compression_ratio=0.556,
        no_speech_prob=0.01,
        speaker=speaker,
        words=tuple(Word(word=f" {word}", start=start, end=end, probability=0.98) for word, start, end in words),
    )
    return Transcript(
        text="Turn left.", segments=(first,), language="en", duration=1.2, language_probability=0.99, timings=timings
    )


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").splitlines()[0].replace("``", "`")


def _code(text: object) -> str:
    return f"`{text}`"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _table(heads: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in cells) + " |"

    heads = tuple(heads)
    return "\n".join([line(heads), "|" + " --- |" * len(heads), *(line(row) for row in rows)])


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", _NOTE, *parts]) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")

"""What the result of a job is fetched as."""

from collections.abc import Iterable
from typing import Any

from auricle.errors import UnsupportedOption
from auricle.formats.options import FormatOptions
from auricle.formats.registry import SPEAKERS_FORMAT
from auricle.server.schemas import AudioForm, parse_form
from auricle.types import Transcript

FORMAT_FIELDS = (
    "response_format",
    "timestamp_granularities",
    "include",
    "max_line_width",
    "max_lines",
    "min_duration_s",
    "max_duration_s",
    "highlight_words",
)
"""Of the form: what can be chosen when the transcript is there."""


def result_format(query: Iterable[tuple[str, str]]) -> AudioForm:
    """The fields of a form that are about the format, out of a query. Raises InvalidOption."""
    given = [("response_format" if name == "format" else name, value) for name, value in query]
    fields = [(name, value) for name, value in given if name.removesuffix("[]") in FORMAT_FIELDS]
    names = {name.removesuffix("[]") for name, _ in fields}
    if "timestamp_granularities" in names and "response_format" not in names:
        fields.append(("response_format", "verbose_json"))
    return parse_form(fields)[0]


def check_details(transcript: Transcript, response_format: str, shape: FormatOptions) -> None:
    """Raises UnsupportedOption where the format wants what the job was not asked to make."""
    if response_format == SPEAKERS_FORMAT and any(segment.speaker is None for segment in transcript.segments):
        raise UnsupportedOption(
            f"{SPEAKERS_FORMAT}: the job was made without speakers; `diarize` must be asked for when it is submitted.",
            param="response_format",
        )
    for name, wanted, field in (
        ("timestamp_granularities", shape.words, "words"),
        ("include", shape.logprobs, "logprobs"),
    ):
        if wanted and any(getattr(segment, field) is None for segment in transcript.segments):
            raise UnsupportedOption(
                f"{name}: the job was made without {field}; they must be asked for when it is submitted.", param=name
            )


def _parameters() -> list[dict[str, Any]]:
    fields: dict[str, dict[str, Any]] = AudioForm.model_json_schema()["properties"]
    alias = {"description": "As `response_format`.", "schema": {"type": "string"}}
    return [
        {"name": "format", "in": "query", "required": False} | alias,
        *(
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": fields[name].get("description", ""),
                "schema": {key: value for key, value in fields[name].items() if key not in {"description", "title"}},
            }
            for name in FORMAT_FIELDS
        ),
    ]


RESULT_PARAMETERS = _parameters()
"""For OpenAPI."""

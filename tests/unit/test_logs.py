import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from auricle.logs import LogFormat, set_up_logging


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    names = ("", "auricle", "uvicorn")
    levels = {name: logging.getLogger(name).level for name in names}
    handlers = logging.root.handlers[:]
    logging.root.handlers = []
    yield
    logging.captureWarnings(False)
    logging.root.handlers = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def written(
    monkeypatch: pytest.MonkeyPatch, *, level: str = "info", log_format: LogFormat = "auto", terminal: bool = False
):
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    set_up_logging(level, log_format)
    return stream


@pytest.mark.parametrize(
    ("log_format", "terminal", "is_json"),
    [("auto", True, False), ("auto", False, True), ("json", True, True), ("console", False, False)],
)
def test_the_format_follows_the_setting_and_the_terminal(
    monkeypatch: pytest.MonkeyPatch, log_format: LogFormat, terminal: bool, is_json: bool
) -> None:
    stream = written(monkeypatch, log_format=log_format, terminal=terminal)
    logging.getLogger("auricle.x").info("loaded %s", "nano")
    assert stream.getvalue().startswith("{") == is_json
    assert "loaded nano" in stream.getvalue()


def test_an_exception_is_one_line_of_json(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = written(monkeypatch, log_format="json")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("auricle.x").exception("failed\nbadly")
    (line,) = stream.getvalue().splitlines()
    body = json.loads(line)
    assert body["message"] == "failed\nbadly"
    assert body["level"] == "error"
    assert body["exception"].startswith("Traceback")
    assert body["timestamp"].endswith("+00:00")


def test_fields_of_a_line_are_keys_of_its_object(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = written(monkeypatch, log_format="json")
    logging.getLogger("auricle.access").info("status=200", extra={"fields": {"status": 200, "model": None}})
    body = json.loads(stream.getvalue())
    assert (body["status"], body["model"]) == (200, None)
    assert "message" not in body


def test_libraries_are_heard_from_warnings_up_even_when_debugging(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = written(monkeypatch, level="debug")
    logging.getLogger("httpx").debug("request body")
    logging.getLogger("uvicorn.error").debug("a frame of a websocket")
    assert stream.getvalue() == ""
    logging.getLogger("auricle.x").debug("own")
    logging.getLogger("uvicorn.error").info("started")
    assert len(stream.getvalue().splitlines()) == 2

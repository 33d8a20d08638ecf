"""How log lines are written: for people, or as JSON with one object a line."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

LogFormat = Literal["auto", "console", "json"]


class JsonLines(logging.Formatter):
    """One JSON object a line, whatever the message or the exception holds.

    The keys ``timestamp``, ``level`` and ``logger`` come first; then those of the record's ``fields`` where it has any
    (the line of a request), else ``message``; ``exception`` holds a traceback.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        line |= getattr(record, "fields", None) or {"message": record.getMessage()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def set_up_logging(level: str, log_format: LogFormat = "console") -> None:
    """Send log lines from ``level`` up to standard error; libraries only from warnings up.

    ``auto`` is ``console`` where standard error is a terminal, else ``json``.
    """
    is_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    console = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if is_json else console)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    own = logging.getLogger("auricle")
    own.setLevel(level.upper())
    # Not below: with debug lines on, a websocket's frames, and with them audio and text, would be in the log.
    logging.getLogger("uvicorn").setLevel(max(own.level, logging.INFO))
    logging.captureWarnings(True)

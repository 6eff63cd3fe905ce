"""The control process' own log: one JSON object a line on stderr.

Runs are logged under the home (`rayorch.observe.logs`); this is for whoever watches the process.
"""

import json
import logging
import sys
from typing import Final, TextIO

ROOT: Final = "rayorch"
CONTEXT: Final = ("run", "stage", "task", "attempt", "cause")
"""What `extra` may say of a record."""


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON, with its context where it has one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "at_s": round(record.created, 6),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key in CONTEXT:
            value = getattr(record, key, None)
            if value not in {None, ""}:
                line[key] = value
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def log_to_stderr(level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Write what this library logs to stderr as JSON lines. Again and again does no harm."""
    logger = logging.getLogger(ROOT)
    logger.setLevel(level)
    logger.propagate = False
    if not any(isinstance(handler.formatter, JsonFormatter) for handler in logger.handlers):
        handler = logging.StreamHandler(stream or sys.stderr)
        handler.setFormatter(JsonFormatter())
        logger.addHandler(handler)

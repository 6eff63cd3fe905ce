import io
import json
import logging
from collections.abc import Iterator

import pytest

from rayorch.observe.process_log import ROOT, JsonFormatter, log_to_stderr


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    logger = logging.getLogger(ROOT)
    before = (logger.level, logger.propagate, list(logger.handlers))
    yield
    logger.level, logger.propagate, logger.handlers = before


def test_a_record_is_one_line_with_its_context() -> None:
    stream = io.StringIO()
    log_to_stderr(stream=stream)
    context = {"run": "r", "stage": "orders", "task": 0, "attempt": 1, "cause": 12}

    logging.getLogger("rayorch.host").warning("lost\n%s", "it", extra=context)

    (text,) = stream.getvalue().splitlines()
    line = json.loads(text)
    assert line.pop("at_s") > 0
    assert line == {
        "level": "warning",
        "logger": "rayorch.host",
        "message": "lost\nit",
        **context,
    }


def test_context_that_is_not_there_is_left_out_and_a_traceback_is_kept() -> None:
    stream = io.StringIO()
    log_to_stderr(stream=stream)

    try:
        int("bad")
    except ValueError:
        logging.getLogger("rayorch.host").exception("broke")

    line = json.loads(stream.getvalue())
    assert set(line) == {"at_s", "level", "logger", "message", "traceback"}
    assert "ValueError: invalid literal" in line["traceback"]


def test_asking_twice_writes_once() -> None:
    stream = io.StringIO()
    log_to_stderr(stream=stream)
    log_to_stderr(stream=stream)

    logging.getLogger("rayorch.host").info("hello")

    assert len(stream.getvalue().splitlines()) == 1
    handlers = logging.getLogger(ROOT).handlers
    assert sum(isinstance(handler.formatter, JsonFormatter) for handler in handlers) == 1

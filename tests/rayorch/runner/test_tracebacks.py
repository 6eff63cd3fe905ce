"""What a person reads of an exception: their own lines, and not without end."""

import json

import pytest

from rayorch.runner.tracebacks import (
    MESSAGE_CHARS_MAX,
    TRACEBACK_CHARS_MAX,
    message_of,
    traceback_of,
    where_of,
)


def caught(code: str, filename: str = "/srv/flow.py") -> BaseException:
    """The exception that code of a user's file raises."""
    with pytest.raises(BaseException) as info:  # noqa: PT011 - any at all
        exec(compile(code, filename, "exec"), {"json": json})  # noqa: S102 - a user's file
    return info.value


def test_the_deepest_line_of_the_user_is_named_though_a_library_raised() -> None:
    error = caught("def parse():\n    json.loads('{')\nparse()")

    assert where_of(error) == "/srv/flow.py:2"


def test_a_chain_of_exceptions_is_told_without_our_frames() -> None:
    error = caught(
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise ValueError('x') from e"
    )

    told = traceback_of(error)

    assert "ZeroDivisionError" in told
    assert "direct cause" in told
    assert told.count("flow.py") == 2


def test_an_exception_without_text_is_called_by_its_class() -> None:
    assert message_of(caught("raise KeyError")) == "KeyError"
    assert message_of(caught("raise ValueError('two: parts')")) == "two: parts"
    assert message_of(caught("import sys; sys.exit('bye')")) == "called sys.exit('bye')"


def test_a_syntax_error_tells_its_line() -> None:
    assert "invalid syntax" in message_of(caught("compile('a b', 'q.py', 'exec')"))


def test_nothing_is_told_without_end() -> None:
    error = caught(f"raise ValueError('x' * {10 * TRACEBACK_CHARS_MAX})")

    assert len(message_of(error)) <= MESSAGE_CHARS_MAX + 3
    assert len(traceback_of(error)) <= TRACEBACK_CHARS_MAX + 3


def test_an_endless_recursion_is_told_shortly() -> None:
    error = caught("def f():\n    f()\nf()")

    assert where_of(error) == "/srv/flow.py:2"
    assert "more times" in traceback_of(error)


def test_what_utf8_cannot_hold_is_told_by_its_escape() -> None:
    error = caught("raise ValueError('no data in a\\udcff.csv')")

    assert message_of(error) == "no data in a\\udcff.csv"
    assert traceback_of(error).encode()

"""A failpoint acts where and as often as a test asked, and nowhere else."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rayorch import failpoints
from rayorch.failpoints import ENVIRONMENT, Failpoint, failpoint, failpoints_of

PROGRAM = """
import os
from rayorch.failpoints import failpoint
failpoint("runner.other")
print("before", flush=True)
failpoint("runner.after_stage")
print("after", flush=True)
"""


def _run(value: str | None) -> subprocess.CompletedProcess[str]:
    env = {name: text for name, text in os.environ.items() if name != ENVIRONMENT}
    if value is not None:
        env[ENVIRONMENT] = value
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=env,
        cwd=Path(failpoints.__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_happens_where_nothing_was_asked() -> None:
    done = _run(None)

    assert done.returncode == 0
    assert done.stdout.split() == ["before", "after"]


def test_exactly_one_process_dies_there(tmp_path: Path) -> None:
    """Two processes pass the same place; the file says which of them went."""
    claim = tmp_path / "killed"
    value = f"runner.after_stage=kill:once:{claim}"

    first, second = _run(value), _run(value)

    assert first.returncode == -signal.SIGKILL
    assert first.stdout.split() == ["before"]
    assert second.returncode == 0
    assert claim.read_text().isdecimal()


def test_an_error_can_be_raised_in_place_of_a_death(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failpoints, "_armed", failpoints_of("runner.before_read=raise"))

    with pytest.raises(OSError, match="a failpoint broke this"):
        failpoint("runner.before_read")


def test_the_text_of_the_variable_is_understood() -> None:
    points = failpoints_of("a.b=kill:once:/tmp/x, c.d=stop ,")

    assert points == {"a.b": Failpoint("kill", "/tmp/x"), "c.d": Failpoint("stop")}  # noqa: S108


@pytest.mark.parametrize("text", ["a", "a=", "=kill", "a=burn", "a=kill:twice:/x", "a=kill:once:"])
def test_what_is_not_understood_is_refused(text: str) -> None:
    """A fault test whose fault never comes would pass for the wrong reason."""
    with pytest.raises(ValueError, match="not a failpoint"):
        failpoints_of(text)

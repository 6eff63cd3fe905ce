"""The errors of the command line.

RayorchError
├── AmbiguousRunError   the beginning of an id that several runs share
├── NoRunsError         `last`, where there is none
├── NoPoolsError        neither a file that describes pools nor a cluster that has some
├── NoTaskError         a task number that the run does not have
├── SetError            a `--set` that is no NAME=VALUE
└── OptionError         a value that an option does not take
"""

from typing import ClassVar

from rayorch.errors import RayorchError, Remedy

SHOWN_MAX = 5


class AmbiguousRunError(RayorchError):
    """Several runs begin with what was typed."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, typed: str, runs: tuple[str, ...]) -> None:
        super().__init__(typed, runs)
        self.typed = typed
        self.runs = runs

    def __str__(self) -> str:
        newest = self.runs[-1 : -1 - SHOWN_MAX : -1]
        shown = "".join(f"\n  {run}" for run in newest)
        more = len(self.runs) - len(newest)
        rest = f"\n  and {more} more" if more > 0 else ""
        return (
            f"{len(self.runs)} runs begin so, type more of the id. run={self.typed!r}{shown}{rest}"
        )


class NoRunsError(RayorchError):
    """There is no run under this home."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, home: str) -> None:
        super().__init__(home)
        self.home = home

    def __str__(self) -> str:
        return (
            f"there are no runs here yet. home={self.home}\n"
            "  `rayorch run FILE` makes one; --home or RAYORCH_HOME names another home"
        )


class NoPoolsError(RayorchError):
    """There is neither a file that describes pools nor a cluster that has some."""

    remedy: ClassVar[Remedy] = "fix"

    def __str__(self) -> str:
        return (
            "no pools to show: no file is named, and no cluster\n"
            "  `rayorch pools cluster.yaml` shows those of a file; RAY_ADDRESS names a cluster"
        )


class NoTaskError(RayorchError):
    """A run has no such task."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, run: str, task: int, count: int) -> None:
        super().__init__(run, task, count)
        self.run = run
        self.task = task
        self.count = count

    def __str__(self) -> str:
        has = f"its tasks are 0 to {self.count - 1}" if self.count else "it has no plan yet"
        return f"no such task: {has}. run={self.run}, task={self.task}"


class SetError(RayorchError):
    """A `--set` that is no NAME=VALUE."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"a parameter is given as NAME=VALUE. --set {self.text}"


class OptionError(RayorchError):
    """A value that an option does not take."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, problem: str, option: str, value: str) -> None:
        super().__init__(problem, option, value)
        self.problem = problem
        self.option = option
        self.value = value

    def __str__(self) -> str:
        return f"{self.problem}. {self.option} {self.value}"

"""The errors between a run and the cluster, or the control actor, that it is handed to.

RayorchError
├── SubmitError           fix     a run cannot be handed over so
├── NoAnswerError         check   a cluster did not answer in time: it may have happened
├── VersionsDifferError   fix     two processes run unlike versions of Ray, Python or rayorch
├── RefusedRequestError   fix     what a client or runner sent is no request that it may make
├── UnansweredError       check   a leader that does not take up a request
│   └── TakenBackError    check   the same, and the request is there no more
└── CancelError           fix     a run that cannot be cancelled any more
"""

from typing import ClassVar

from rayorch.errors import RayorchError, Remedy


class VersionsDifferError(RayorchError):
    """Two processes that must run the same versions do not."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, where: str, theirs: str, ours: str, fix: str) -> None:
        super().__init__(where, theirs, ours, fix)
        self.where = where
        self.theirs = theirs
        self.ours = ours
        self.fix = fix

    def __str__(self) -> str:
        fix = "".join(f"\n  {line}" for line in self.fix.splitlines())
        return f"{self.where} runs {self.theirs}, and this process {self.ours}{fix}"


class RefusedRequestError(RayorchError):
    """What a client or a runner sent is no request that it may make. Nothing has changed."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, sender: str, problem: str, value: str) -> None:
        super().__init__(sender, problem, value)
        self.sender = sender
        self.problem = problem
        self.value = value

    def __str__(self) -> str:
        return (
            f"the control actor refuses what {self.sender} sent: {self.problem}. "
            f"value={self.value}\n"
            "  both ends must run the same rayorch: `pip show rayorch` here and on the cluster"
        )


class SubmitError(RayorchError):
    """A run cannot be handed over so; nothing was."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, problem: str, what: str, fix: str) -> None:
        super().__init__(problem, what, fix)
        self.problem = problem
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        what = f". {self.what}" if self.what else ""
        return f"{self.problem}{what}" + "".join(f"\n  {line}" for line in self.fix.splitlines())


class NoAnswerError(RayorchError):
    """A cluster or a control actor did not answer in time: it may have done what was asked."""

    remedy: ClassVar[Remedy] = "check"

    def __init__(self, who: str, asked: str, waited_s: float) -> None:
        super().__init__(who, asked, waited_s)
        self.who = who
        self.asked = asked
        self.waited_s = waited_s

    def __str__(self) -> str:
        return (
            f"{self.who} did not answer within {self.waited_s:g} s when asked {self.asked}\n"
            "  `ray job list --address URL` shows what the cluster knows of it"
        )


class CancelError(RayorchError):
    """A run cannot be cancelled any more."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, run: str, why: str, fix: str) -> None:
        super().__init__(run, why, fix)
        self.run = run
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        return f"run {self.run} is not cancelled: {self.why}\n  {self.fix}"


class UnansweredError(RayorchError):
    """The leader of a home has not taken up a request yet."""

    remedy: ClassVar[Remedy] = "check"

    def __init__(self, run: str, leader: str, waited_s: float) -> None:
        super().__init__(run, leader, waited_s)
        self.run = run
        self.leader = leader
        self.waited_s = waited_s

    def __str__(self) -> str:
        return (
            f"the request is left under the home, and not obeyed within {self.waited_s:g} s. "
            f"run={self.run}, leader={self.leader}"
        )


class TakenBackError(UnansweredError):
    """The leader of a home did not take up a request, which was then taken back."""

    def __str__(self) -> str:
        return (
            f"the request was not taken up within {self.waited_s:g} s, and is taken back. "
            f"run={self.run}, leader={self.leader}"
        )

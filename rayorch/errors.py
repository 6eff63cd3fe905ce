"""The errors of the house.

RayorchError
├── SpecError                  fix     what a user wrote cannot be run as it stands
│   └── PipelineFileError      fix     the file that holds the pipeline cannot be loaded
├── SettingsError              fix     an environment variable or option cannot be understood
├── PoolsError                 fix     a file of pools cannot be used as it stands
├── NoMachineError             fix     no machine holds what a stage needs
├── SolverProcessError         retry   the solver's process died, took too long or said nonsense
├── InvalidTransitionError     report  an event that cannot happen in this state
├── UnknownRunError            fix     no such run under this home
├── FencedError                stop    a newer control actor owns the journal
├── JournalDamagedError        repair  a segment or snapshot is not what was written
├── JournalNewerError          fix     a newer version of this library wrote the journal
├── JournalStuckError          check   the store does not say whether an append happened
├── ClusterError               fix     a Ray cluster cannot be reached or started
├── HomeBusyError              fix     another control actor is at work under this home
├── RunFailedError             fix     a run ended without its outputs
├── ResumeError                fix     a run cannot be resumed, or not with this pipeline
├── OutputsDisagreeError       fix     tasks of one output made columns that do not go together
└── InvariantError             report  what must always hold does not

What stands between a run and the cluster that it is handed to is in `submit_errors.py`.

Every class has a remedy, on which code branches; people read the text. All fields are positional
and go to `super().__init__`, or an error would not survive the pickling that Ray does.
"""

from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Remedy = Literal[
    "retry",  # the same call may work later
    "check",  # it may have happened: read back before trying again
    "fix",  # a person has to change something
    "stop",  # retrying can never help
    "repair",  # stored state is damaged
    "report",  # a bug of ours
]


class RayorchError(Exception):
    """Base of all errors that rayorch raises on purpose."""

    remedy: ClassVar[Remedy] = "report"

    @property
    def retryable(self) -> bool:
        """Whether the same call may work later."""
        return self.remedy == "retry"


class SpecError(RayorchError):
    """What a user wrote cannot be run as it stands.

    One readable text: what is wrong, then the pipeline, the transform (or read, or write), the
    field and the value, then the user's file and line, then what to do.
    """

    remedy: ClassVar[Remedy] = "fix"

    def __init__(  # noqa: PLR0913, PLR0917 - args == fields, so that the error survives pickling.
        self,
        problem: str,
        pipeline: str = "",
        transform: str = "",
        field: str = "",
        value: str = "",
        where: str = "",
        fix: str = "",
    ) -> None:
        super().__init__(problem, pipeline, transform, field, value, where, fix)
        self.problem = problem
        self.pipeline = pipeline
        self.transform = transform
        self.field = field
        self.value = value
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        parts = [
            f"{key}={text}"
            for key, text in (
                ("pipeline", self.pipeline),
                ("transform", self.transform),
                ("field", self.field),
                ("value", self.value),
            )
            if text
        ]
        text = self.problem if not parts else f"{self.problem}. {', '.join(parts)}"
        at = f"\n  at {self.where}" if self.where else ""
        return f"{text}{at}" + "".join(f"\n  {line}" for line in self.fix.splitlines())

    def located(self, pipeline: str = "", transform: str = "", where: str = "") -> "SpecError":
        """Return the same error with what it did not know about its place filled in."""
        return type(self)(
            self.problem,
            self.pipeline or pipeline,
            self.transform or transform,
            self.field,
            self.value,
            self.where or where,
            self.fix,
        )


class PipelineFileError(SpecError):
    """The file that holds the pipeline cannot be loaded."""


class SettingsError(RayorchError):
    """An environment variable or option cannot be understood."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, problem: str, name: str, value: str) -> None:
        super().__init__(problem, name, value)
        self.problem = problem
        self.name = name
        self.value = value

    def __str__(self) -> str:
        return f"{self.problem}. {self.name}={self.value}"


class PoolsError(RayorchError):
    """A file of pools cannot be used as it stands."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, problem: str, file: str, field: str, value: str, fix: str = "") -> None:
        super().__init__(problem, file, field, value, fix)
        self.problem = problem
        self.file = file
        self.field = field
        self.value = value
        self.fix = fix

    def __str__(self) -> str:
        named = (("pools", self.file), ("field", self.field), ("value", self.value))
        where = ", ".join(f"{key}={text}" for key, text in named if text)
        return f"{self.problem}. {where}" + (f"\n  {self.fix}" if self.fix else "")


class NoMachineError(RayorchError):
    """No machine that there is, or that can be had, holds what one task of a stage needs."""

    remedy: ClassVar[Remedy] = "fix"
    fix = (
        "lower memory=, cores= or gpus= of its transforms, or run it where there are such "
        "machines: `rayorch pools --address HOST:PORT` shows what a cluster has"
    )

    def __init__(self, stage: str, need: str, has: str) -> None:
        super().__init__(stage, need, has)
        self.stage = stage
        self.need = need
        self.has = has

    def __str__(self) -> str:
        return f"no machine holds a task of stage {self.stage!r}. it needs {self.need}; {self.has}"


class SolverProcessError(RayorchError):
    """The solver's process gave no plan: it died, took too long, or said what is no answer."""

    remedy: ClassVar[Remedy] = "retry"

    def __init__(self, problem: str, detail: str) -> None:
        super().__init__(problem, detail)
        self.problem = problem
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.problem}. {self.detail}" if self.detail else self.problem


def near_miss(word: str, known: "Iterable[str]") -> str:
    """Return `did you mean 'x'?` when something known is close to the word, else nothing."""
    names = sorted(set(known))
    by_folded = {name.casefold(): name for name in names}
    close = get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return f"did you mean {by_folded[close[0]]!r}?" if close else ""


class InvalidTransitionError(RayorchError):
    """The core met an event that cannot happen in this state. Nothing has changed."""

    remedy: ClassVar[Remedy] = "report"

    def __init__(self, what: str, state: str, event: str) -> None:
        super().__init__(what, state, event)
        self.what = what
        self.state = state
        self.event = event

    def __str__(self) -> str:
        return f"impossible event. of={self.what}, state={self.state}, event={self.event}"


class UnknownRunError(RayorchError):
    """There is no such run under this home."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, run: str, known: tuple[str, ...] = ()) -> None:
        super().__init__(run, known)
        self.run = run
        self.known = known

    def __str__(self) -> str:
        near = get_close_matches(self.run, self.known, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else " `rayorch runs` lists them."
        return f"no such run. run={self.run!r}.{hint}"


class FencedError(RayorchError):
    """A newer control actor owns the journal.

    Retrying cannot help: our epoch will never be the newest again.
    """

    remedy: ClassVar[Remedy] = "stop"

    def __init__(self, our_epoch: int, stored_epoch: int) -> None:
        super().__init__(our_epoch, stored_epoch)
        self.our_epoch = our_epoch
        self.stored_epoch = stored_epoch

    def __str__(self) -> str:
        return (
            "another control actor has taken over this home; this one stops. "
            f"our_epoch={self.our_epoch}, stored_epoch={self.stored_epoch}"
        )


class JournalDamagedError(RayorchError):
    """A segment or a snapshot of the journal is not what was written."""

    remedy: ClassVar[Remedy] = "repair"

    def __init__(self, key: str, what: str) -> None:
        super().__init__(key, what)
        self.key = key
        self.what = what

    def __str__(self) -> str:
        return f"the journal is damaged: {self.what}. object={self.key}"


class JournalNewerError(RayorchError):
    """A newer version of this library wrote the journal, and this one would misread it."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, key: str, written_by: str, ours: str, what: str) -> None:
        super().__init__(key, written_by, ours, what)
        self.key = key
        self.written_by = written_by
        self.ours = ours
        self.what = what

    def __str__(self) -> str:
        there = f"rayorch {self.written_by}" if self.written_by else "another version of rayorch"
        wanted = f"'rayorch>={self.written_by}'" if self.written_by else "--upgrade rayorch"
        return (
            f"this journal was written by {there}, and this is rayorch {self.ours}, which cannot "
            f"read it: {self.what}. object={self.key}\n"
            f"  pip install {wanted}; nothing was changed here"
        )


class JournalStuckError(RayorchError):
    """The store does not say whether an append happened; the leader gives up its lead."""

    remedy: ClassVar[Remedy] = "check"

    def __init__(self, key: str, why: str) -> None:
        super().__init__(key, why)
        self.key = key
        self.why = why

    def __str__(self) -> str:
        return f"the journal's store does not answer. object={self.key}, last={self.why}"


class ClusterError(RayorchError):
    """A Ray cluster cannot be reached or started."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, address: str, why: str, fix: str = "") -> None:
        super().__init__(address, why, fix)
        self.address = address
        self.why = why
        self.fix = fix or (
            "`ray status`, on its head, says whether it is up; from outside its network, let it\n"
            "run the file: `rayorch submit FILE --address http://HEAD:8265`;\n"
            "unset RAY_ADDRESS for a Ray of our own, which `rayorch up` keeps warm"
        )

    def __str__(self) -> str:
        fix = "".join(f"\n  {line}" for line in self.fix.splitlines())
        return f"no Ray cluster answers. address={self.address}\n  {self.why}{fix}"


class RefusedTokenError(ClusterError):
    """A Ray cluster refuses who asks: without a token, or with one that is wrong or has expired."""


class HomeBusyError(RayorchError):
    """Another control actor is at work under this home."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, home: str, leader: str, run: str) -> None:
        super().__init__(home, leader, run)
        self.home = home
        self.leader = leader
        self.run = run

    def __str__(self) -> str:
        named = f"home={self.home}, leader={self.leader}"
        if not self.run:
            return (
                f"another control actor leads this home and serves clients. {named}\n"
                "  `rayorch submit` hands it a run; or use another --home, end it with "
                "`rayorch down --home`, or take over with --takeover (it then stops)"
            )
        return (
            f"another control actor is at work on this home. {named}, run={self.run}\n"
            "  wait for it, use another --home, or take over with --takeover (it then stops)"
        )


class RunFailedError(RayorchError):
    """A run ended without its outputs."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, run: str, state: str, text: str) -> None:
        super().__init__(run, state, text)
        self.run = run
        self.state = state
        self.text = text

    def __str__(self) -> str:
        return f"run {self.run} {self.state}: {self.text}"


class ResumeError(RayorchError):
    """A run cannot be resumed, or not with this pipeline."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, run: str, why: str, fix: str) -> None:
        super().__init__(run, why, fix)
        self.run = run
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        return f"run {self.run} cannot be resumed: {self.why}\n  {self.fix}"


class OutputsDisagreeError(RayorchError):
    """The tasks that write one output made columns that do not go together."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, url: str, why: str) -> None:
        super().__init__(url, why)
        self.url = url
        self.why = why

    def __str__(self) -> str:
        return f"the tasks that write {self.url} disagree about its columns: {self.why}"


class InvariantError(RayorchError):
    """What must always hold does not: a bug of ours. Whoever finds it stops at once."""

    remedy: ClassVar[Remedy] = "report"

    def __init__(self, invariant: str, found: str) -> None:
        super().__init__(invariant, found)
        self.invariant = invariant
        self.found = found

    def __str__(self) -> str:
        return f"a bug: the rule that {self.invariant} is broken. found={self.found}"

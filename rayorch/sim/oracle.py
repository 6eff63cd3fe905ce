"""What really happened, kept apart from what the control plane believes, and compared with it."""

from typing import TYPE_CHECKING, Any, Final

from rayorch.core import invariants
from rayorch.core.commands import Lease, PublishSink
from rayorch.core.facts import AttemptFinished, RunnerJoined
from rayorch.core.machine import Machine
from rayorch.core.run import Run, RunState
from rayorch.core.task import Task, TaskState
from rayorch.errors import InvariantError
from rayorch.ids import Epoch, RunId, RunnerId, TaskId
from rayorch.sim.pieces import Piece, check_cover, piece_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rayorch.core.values import SinkResult, WrittenBy

TOLD_S: Final = 2.0
"""In which a runner that is heard is told what it has to give back."""

Token = tuple[RunId, TaskId, int, Epoch]
"""Run, task, attempt, epoch: the name under which an attempt stages its files."""


def token_of(lease: Lease) -> Token:
    """Return the name under which an attempt stages its files."""
    return (lease.run, lease.task, lease.attempt, lease.epoch)


def payload_of(token: Token) -> str:
    """Return what the files of an attempt hold: its name."""
    run, task, attempt, epoch = token
    return f"{run}/{task}/{attempt}/{epoch}"


def _token_in(payload: str) -> Token:
    run, task, attempt, epoch = payload.split("/")
    return RunId(run), TaskId(int(task)), int(attempt), Epoch(int(epoch))


class Oracle:
    """Files, tables and the first commit of each task, by the simulated world itself."""

    def __init__(self) -> None:
        self.begun: set[Token] = set()
        self.staged: dict[Token, str] = {}  # and what their files hold
        self.staged_s: dict[Token, float] = {}  # what it took to make them
        self.commits: dict[tuple[RunId, TaskId], Token] = {}
        self.tables: dict[tuple[RunId, int], tuple[int, frozenset[str]]] = {}
        self.swept: set[RunId] = set()
        self.orphans = 0  # staged after their run was swept: invisible, but they lie there
        self._pieces: dict[Token, Piece] = {}  # of attempts on what was cut
        self._cut: dict[RunId, set[TaskId]] = {}  # tasks of each run that were, and their rest
        self._view: dict[str, Any] | None = None
        self._newest = 0  # the epoch of the newest leader
        self._owed: dict[tuple[RunnerId, Token], float] = {}  # to be given back, since when

    def sends(self, machine: Machine, leases: "Iterable[Lease]") -> None:
        """Note what leases are to read, where it is not all of their tasks."""
        for lease in leases:
            splits = machine.runs[lease.run].splits
            if splits and lease.task in splits:
                self._reads(token_of(lease), piece_of(lease.task, splits[lease.task]))

    def cut(self, token: Token) -> tuple[Piece, ...]:
        """Cut what an attempt reads: it writes the first part, and leaves the others to others."""
        parts = self._piece(token).cut()
        if parts:
            self._reads(token, parts[0])
        return parts

    def _reads(self, token: Token, piece: Piece) -> None:
        self._pieces[token] = piece
        self._cut.setdefault(token[0], set()).update((token[1], piece.task))

    def _piece(self, token: Token) -> Piece:
        return self._pieces.get(token) or piece_of(token[1], b"")

    def plans(self, run: RunId, stage: int, files: "Iterable[WrittenBy]") -> None:
        """Look at the exchange files that a stage is to read."""
        cut = self._cut.get(run, ())
        mine = [(run, each.task, each.attempt, each.epoch) for each in files if each.task in cut]
        check_cover(map(self._piece, mine), f"stage {stage} of {run}")

    def begin(self, token: Token, runner: RunnerId, heard_s: float) -> None:
        """Note that an attempt begins: under a name that nobody has used, and nobody took back.

        `heard_s` is since when its runner has heard what was said to it before.
        """
        if token in self.begun:
            raise InvariantError("an attempt's name is used once", str(token))
        self.begun.add(token)
        owed_s = self._owed.pop((runner, token), None)
        if owed_s is not None and heard_s - owed_s > TOLD_S:
            raise InvariantError("what was given to others is taken back", f"{runner} {token}")

    def met(self, machine: Machine, fact: RunnerJoined, at_s: float) -> None:
        """Note what a runner holds, has not begun, and is to give back."""
        slot = machine.runners.get(fact.runner)
        for held in fact.held if slot is not None else ():
            token = (held.run, held.task, held.attempt, held.epoch)
            assert slot is not None
            if not held.started and not slot.holds((held.run, held.task), held.attempt, held.epoch):
                self._owed[fact.runner, token] = at_s

    def fell(self) -> None:
        """Note that the leader is dead: what it was to say, the next one says when it leads."""
        self._owed.clear()

    def led(self, epoch: int) -> None:
        """Note that a control actor leads."""
        self._newest = max(self._newest, epoch)

    def appended(self, epoch: int) -> None:
        """Note that a control actor was told that what it appended is durable."""
        if epoch < self._newest:
            raise InvariantError("who was superseded appends nothing", f"{epoch} < {self._newest}")

    def stage(self, token: Token, duration_s: float) -> None:
        """Note that an attempt has written its files."""
        self.staged[token] = payload_of(token)
        self.staged_s[token] = duration_s
        self.orphans += token[0] in self.swept

    @property
    def useful_s(self) -> float:
        """Seconds of the attempts that were the first to commit their tasks."""
        return sum(self.staged_s.get(token, 0.0) for token in self.commits.values())

    def committed(self, machine: Machine, fact: AttemptFinished) -> None:
        """Compare a task after a report with the commit that the world has seen first."""
        run = machine.runs[fact.run]
        if not run.swept:
            self._check_commit(run, run.tasks[fact.task])

    def _check_commit(self, run: Run, task: Task) -> None:
        if task.state is not TaskState.COMMITTED:
            return
        token = (run.id, task.id, task.attempt, task.epoch)
        first = self.commits.setdefault((run.id, task.id), token)
        if token != first and not task.revived:
            raise InvariantError("the first commit of a task stays", f"{first}, then {token}")
        # What a cancelled run committed was never visible, and is swept with the rest; so is what
        # a task wrote anew beside its exchange files.
        kept = run.state is not RunState.CANCELLED and not task.revived
        if kept and token not in self.staged:
            raise InvariantError("what is committed is staged", str(token))

    def publish(self, command: PublishSink, outputs: "Sequence[tuple[int, Any]]") -> None:
        """Make a sink visible. Twice is once, if it is the same."""
        results: list[SinkResult] = [
            result for _, some in outputs for result in some if result.sink == command.sink
        ]
        content = frozenset(result.payload for result in results)
        table = (command.generation, content)
        known = self.tables.setdefault((command.run, command.sink), table)
        if known != table:
            raise InvariantError("a sink is published once", f"{known}, then {table}")
        cut = self._cut.get(command.run, ())
        mine = [result for task, some in outputs if task in cut for result in some]
        tokens = [_token_in(each.payload) for each in mine if each.sink == command.sink]
        check_cover(map(self._piece, tokens), f"sink {command.sink} of {command.run}")
        if lost := content - set(self.staged.values()):
            raise InvariantError("what is published is there", str(sorted(lost)))

    def sweep(self, run: RunId, outputs: "Iterable[tuple[int, Any]]") -> int:
        """Delete what no commit names; return how many attempts' files that were."""
        keep = {result.payload for _, some in outputs for result in some}
        staged = self.staged.items()
        doomed = [token for token, held in staged if token[0] == run and held not in keep]
        for token in doomed:
            del self.staged[token]
        self.swept.add(run)
        return len(doomed)

    def remember(self, machine: Machine) -> None:
        """Keep what a control actor knew when it fell, with all of its journal applied."""
        self._view = invariants.durable_view(machine)

    def forget(self) -> None:
        """Forget it: somebody went on from there, unseen."""
        self._view = None

    def compare(self, machine: Machine) -> None:
        """Compare a replay with what was known before. Raises: InvariantError."""
        before, self._view = self._view, None
        if before is not None and before != (after := invariants.durable_view(machine)):
            raise InvariantError("a replay ends where the live machine was", _apart(before, after))
        for run in machine.runs.values():
            for task in run.tasks:
                # Some may be news: journaled by a leader that died before it could apply them.
                self._check_commit(run, task)

    def check_end(self, machine: Machine) -> None:
        """Look at what is visible in the end: each row once, nothing lost, nothing left."""
        for run in machine.runs.values():
            if run.state is not RunState.SUCCEEDED:
                continue
            seen = [
                payload
                for sink in range(len(run.sinks))
                for payload in self.tables[run.id, sink][1]
            ]
            tasks = sorted(int(payload.split("/")[1]) for payload in seen)
            if tasks != list(range(run.task_count)):
                raise InvariantError("each task is visible once", f"{run.id}: {tasks}")
            commits = self.commits.items()
            committed = {payload_of(token) for (owner, _), token in commits if owner == run.id}
            if set(seen) != committed:
                raise InvariantError("what is visible is what was committed first", run.id)
            if not committed <= set(self.staged.values()):
                raise InvariantError("what is visible is there", run.id)


def _apart(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Return the first fields in which two views differ."""
    for run in before.keys() | after.keys():
        one, other = before.get(run, {}), after.get(run, {})
        for field in one.keys() | other.keys():
            if one.get(field) != other.get(field):
                return f"{run}.{field}: {one.get(field)!r:.500}, then {other.get(field)!r:.500}"
    return "nothing"

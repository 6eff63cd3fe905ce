"""A simulated runner: works its queue first in, first out, and dies or falls silent when told."""

from rayorch.core.commands import Lease
from rayorch.core.facts import (
    AttemptFailed,
    AttemptFinished,
    AttemptStarted,
    Fact,
    LeaseReturned,
    RunnerJoined,
)
from rayorch.core.values import AttemptOutput, ErrorInfo, Held, SinkResult, StepSeconds
from rayorch.errors import InvariantError
from rayorch.ids import NO_CACHE, CacheId, NodeId, RunnerId
from rayorch.sim.config import Fate, SimPool
from rayorch.sim.exchange import Sources
from rayorch.sim.oracle import Token, payload_of, token_of
from rayorch.sim.ports import WorldPort


class SimRunner:
    """One incarnation of a runner."""

    def __init__(self, world: WorldPort, runner: RunnerId, pool: SimPool, node: NodeId) -> None:
        self._world = world
        self.id = runner
        self.pool = pool
        self.node = node
        self.queue: list[Lease] = []
        self.running: Lease | None = None
        self._begun_s = 0.0
        self.alive = True
        self.newest = 0  # the epoch of the newest leader that it has met
        self._shown: set[Token] = set()  # what it held when it met that leader
        self.disowned = False  # declared lost while it was silent
        self.silent_until_s = 0.0
        self.ordered_s = 0.0  # when the last order that was sent to it is there
        self.stopped_until_s = 0.0
        self._cut = False  # the running attempt was asked to be cut, and can be
        self._sources = Sources()  # exchange files that the running attempt reads
        self.unheard: list[Fact] = []  # reports that no control actor has made durable

    @property
    def silent(self) -> bool:
        """Whether it is not heard: it is stopped, or behind a partition and works on."""
        return self._world.agenda.at_s < self.silent_until_s

    def joined(self) -> RunnerJoined:
        """Say who it is and what it holds."""
        held = [self.running] if self.running is not None else []
        self._shown = {token_of(each) for each in (*held, *self.queue)}
        return RunnerJoined(
            runner=self.id,
            pool=self.pool.name,
            cores=self.pool.cores,
            memory_bytes=self.pool.memory_bytes,
            held=tuple(
                Held(each.run, each.task, each.attempt, each.epoch, each is self.running)
                for each in (*held, *self.queue)
            ),
            node=self.node,
            gpus=self.pool.gpus,
            cache=CacheId(self.node) if self._world.traits.cached else NO_CACHE,
        )

    def enqueue(self, leases: tuple[Lease, ...]) -> None:
        """Take leases."""
        # A leader that was superseded may still speak: what the newer one does not know of, and
        # cannot time out, is not begun.
        self.newest = max(self.newest, *(lease.epoch for lease in leases))
        if not self.alive:
            return
        for lease in leases:
            # What is here already is taken in once: a host may repeat itself.
            if lease.epoch == self.newest and not self._has(lease):
                self.queue.append(lease)
        self._next()

    def _has(self, lease: Lease) -> bool:
        token, running = token_of(lease), self.running
        if running is not None and token_of(running) == token:
            return True
        return any(token_of(each) == token for each in self.queue)

    def revoke(self, leases: tuple[Lease, ...], *, halt: bool = False) -> None:
        """Give back what has not started, and with `halt` what has."""
        tokens = {token_of(lease) for lease in leases}
        back = [lease for lease in self.queue if token_of(lease) in tokens]
        self.queue = [lease for lease in self.queue if token_of(lease) not in tokens]
        if self.alive and back:
            self._report(*(LeaseReturned(*token_of(lease), self.id) for lease in back))
        running = self.running
        if self.alive and halt and running is not None and token_of(running) in tokens:
            self._stop()
            self._report(LeaseReturned(*token_of(running), self.id))
            self._next()

    def cut(self, lease: Lease) -> None:
        """Leave a part of the running attempt to others, when it comes to its end."""
        if self.running is not None and token_of(self.running) == token_of(lease):
            self._cut = self._world.coin(0.5)

    def die(self) -> None:
        """Be gone, with everything that was not reported."""
        self.alive = False
        self.queue.clear()
        self._stop()

    def heard(self, facts: tuple[Fact, ...]) -> None:
        """Forget reports that are durable."""
        heard = set(map(id, facts))
        self.unheard = [fact for fact in self.unheard if id(fact) not in heard]

    def _next(self) -> None:
        if self.running is None and self.queue:
            lease = self.running = self.queue.pop(0)
            token = token_of(lease)
            self._begun_s = self._world.agenda.at_s
            self._cut = False
            if lease.epoch < self.newest and token not in self._shown:
                raise InvariantError("who was superseded is not obeyed", f"{self.id} {lease}")
            self._world.begin(token, self.id, self.silent_until_s)
            self._report(AttemptStarted(*token, self.id))
            duration_s = self._world.duration_s(self.pool)
            fate = self._world.fate_of(lease)
            self._sources = self._world.exchange.sources(lease.run, lease.stage)
            if fate != "hangs":
                self._world.agenda.after(duration_s, lambda: self._end(lease, fate, duration_s))

    def _stop(self) -> None:
        """Work on nothing any more."""
        if self.running is not None:
            self._world.worked(self._world.agenda.now_s() - self._begun_s)
            self.running = None

    def _end(self, lease: Lease, fate: Fate, duration_s: float) -> None:
        """Come to the end of an attempt, unless it died meanwhile; a silent one ends it later."""
        if not self.alive or self.running is not lease:
            return
        wait_s = self.stopped_until_s - self._world.agenda.at_s
        if wait_s > 0.0:
            self._world.agenda.after(wait_s, lambda: self._end(lease, fate, duration_s))
            return
        if fate == "kills":
            self._world.cluster.crash(self.id)
            return
        took_s = self._world.agenda.at_s - self._begun_s
        self._stop()
        token = token_of(lease)
        lost = self._world.lost_of(lease, self._sources)
        if lost:
            error = ErrorInfo(message="simulated: an exchange file is lost")
            self._report(AttemptFailed(*token, self.id, "upstream", error, lost=lost))
        elif fate == "finishes" and (trouble := self._world.staging_trouble()) is not None:
            if trouble.is_written:
                self._world.stage(token, took_s)
            error = ErrorInfo(message=f"simulated: staging. {trouble.message}")
            self._report(AttemptFailed(*token, self.id, trouble.kind, error))
        elif fate == "finishes":
            self._world.stage(token, took_s)
            output = self._output(lease, token, took_s)
            self._report(AttemptFinished(*token, self.id, output, revived=lease.revived))
        elif fate != "hangs":
            error = ErrorInfo(message=f"simulated: {fate}")
            self._report(AttemptFailed(*token, self.id, fate, error))
        self._next()

    def _output(self, lease: Lease, token: Token, duration_s: float) -> AttemptOutput:
        pieces = self._world.oracle.cut(token) if self._cut else ()
        result = SinkResult(
            sink=self._world.sink_of(lease.stage),
            rows=int(lease.task) + 1,
            size_bytes=8,
            schema_fp=self._world.schema_of(lease),
            payload=payload_of(token),
        )
        return AttemptOutput(
            rows_in=1,
            results=(result,),
            seconds=StepSeconds(compute_s=duration_s),
            parts=self._world.parts_of(lease),
            cut=tuple(each.encode() for each in pieces),
        )

    def _report(self, *facts: Fact) -> None:
        self.unheard.extend(facts)
        self._world.cluster.report(self.id, facts)

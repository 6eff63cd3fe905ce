"""Event-level simulation of one layout in one scenario: exact, a few microseconds a task.

    request --(pool gone: wait, after patience ask the fallback)--> up --boot--> ready
    ready   --take the first ready task that fits, in order of parts--> running --> done
    reclaim --running tasks go back to their queue--> replacement asked from the fallback
    nothing left to start in any of its parts, and idle --> released

Used to confirm what the class-level simulator of `simulate.py` has chosen, and directly by the
search where a problem has few tasks.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Any, Final

from placement.handover import inputs_one, readers_all, readers_of
from placement.inflight import flying
from placement.layout import NO_POOL, Layout
from placement.nodes import Node, Outcome, bill_usd, overlap

if TYPE_CHECKING:
    from placement.model import Problem
    from placement.scenarios import Scenarios
    from placement.tables import Tables

# A plan that is not done after this many horizons is counted as never finishing.
HORIZONS_MAX: Final = 50
DONE, READY, REQUEST, RECLAIM, RETRY = range(5)
_EPS: Final = 1e-9


class EventSimulator:
    """One layout, ready to be run in many scenarios."""

    def __init__(self, problem: Problem, tables: Tables, layout: Layout, *, end_s: float) -> None:
        self._problem, self._tables, self._layout = problem, tables, layout
        self._limit = problem.now_s + HORIZONS_MAX * max(end_s - problem.now_s, 3600.0)
        classes = problem.classes
        self._cls = [p.cls for p in layout.parts]
        self._need = [(c.slots, c.mem_gb, c.gpus) for c in classes]
        self._fits = tables.fits.tolist()
        self._compute = tables.compute_s.tolist()
        self._local = len(tables.locations) == 1
        in_gb = [c.in_gb + sum(gb for _, _, gb in tables.parents[k]) for k, c in enumerate(classes)]
        self._in_gb = in_gb
        self._write = tables.write_s.tolist()
        self._read = tables.read_s_gb.tolist()
        self._usd_gb = tables.egress_usd_gb.tolist()
        self._loc = tables.pool_loc.tolist()
        self._part_of = [[0] * c.count for c in classes]
        for p, part in enumerate(layout.parts):
            self._part_of[part.cls][part.lo : part.hi] = [p] * part.count
        self._kids_one = [readers_of(problem, tables, k) for k in range(len(classes))]
        self._flying = list(flying(problem))
        self._begun = {k: lo + run.count for run, k, _, lo in self._flying}
        self._kids_all = [readers_all(tables, k) for k in range(len(classes))]
        self._inputs = [inputs_one(problem, tables, k) for k in range(len(classes))]
        self._serves = {f.parts: frozenset(f.parts) for f in layout.fleets}
        self._lazy: dict[int, list[int]] = {}
        for f, fleet in enumerate(layout.fleets):
            for p in fleet.parts if fleet.at_s is None else ():
                self._lazy.setdefault(p, []).append(f)

    # -- one execution -------------------------------------------------------------------

    def run(self, scenarios: Scenarios, s: int) -> Outcome:
        """Execute the layout in scenario `s`."""
        self._reset(scenarios, s)
        events, pop = self._events, heapq.heappop
        while self._open and events:
            now, _, kind, what, task = pop(events)
            self._now = now
            if now > self._limit:
                break
            if kind == DONE:
                if what.end == math.inf:
                    self._done(what, task)
            elif kind == READY:
                if what.end == math.inf:
                    self._dispatch(what)
                    self._trim(what.parts)
                    self._trim_unused(what)
            elif kind == REQUEST:
                self._request(*what)
            elif kind == RECLAIM:
                if what.end == math.inf:
                    self._reclaim(what)
            else:
                self._retry(what)
        return self._outcome()

    def _reset(self, scenarios: Scenarios, s: int) -> None:
        classes, tables = self._problem.classes, self._tables
        self._now, self._seq = self._problem.now_s, 0
        # What an event carries depends on its kind: a node, a request, or a pool.
        self._events: list[tuple[float, int, int, Any, Any]] = []
        self._noise = [n[s].tolist() for n in scenarios.noise]
        self._slow, self._startup = scenarios.slow[s].tolist(), scenarios.startup[s].tolist()
        self._gone, self._back = scenarios.gone[s].tolist(), scenarios.back[s].tolist()
        self._waiting = [p.count for p in self._layout.parts]
        self._ready: list[list[int]] = [[] for _ in self._layout.parts]
        # Parts with something ready.
        self._hot: set[int] = set()
        self._members: list[dict[Node, None]] = [{} for _ in self._layout.parts]
        self._left = [c.count for c in classes]
        self._open: int = sum(self._left)
        self._at_loc: list[list[int]] = [[] if self._local else [0] * c.count for c in classes]
        self._by_loc = [[0.0] * len(tables.locations) for _ in classes]
        self._live = [0] * len(self._problem.pools)
        self._queue: list[list[tuple[int, int, tuple[int, ...]]]] = [[] for _ in self._live]
        self._granted: set[int] = set()
        self._names = 0
        self._nodes: list[Node] = []
        # Nodes that are there, by the parts that they serve.
        self._crews: dict[tuple[int, ...], dict[Node, None]] = {}
        self._asked_lazy: set[int] = set()
        self._egress, self._reclaims = 0.0, 0
        self._missing_all = [sum(m == "all" for _, m, _ in deps) for deps in tables.parents]
        self._missing_one = [None if one is None else one.copy() for one in self._inputs]
        for f, fleet in enumerate(self._layout.fleets):
            if fleet.held >= 0:
                self._start_held(f)
            elif fleet.at_s is not None:
                for _ in range(fleet.count):
                    self._push(fleet.at_s, REQUEST, (self._name(), fleet.pool, fleet.parts))
        self._start_running(scenarios, s)
        for k in range(len(classes)):
            if not self._missing_all[k]:
                self._release_class(k)
        for p in range(len(self._layout.parts)):
            self._ask_lazy(p)

    def _name(self) -> int:
        self._names += 1
        return self._names

    def _push(
        self, at: float, kind: int, what: object, task: tuple[int, int] | None = None
    ) -> None:
        self._seq += 1
        heapq.heappush(self._events, (at, self._seq, kind, what, task))

    def _release_class(self, k: int) -> set[int]:
        """All the `all` inputs of class k are there: queue its tasks that miss nothing else."""
        one, part_of = self._missing_one[k], self._part_of[k]
        woken = set()
        for i in range(self._begun.get(k, 0), self._problem.classes[k].count):
            if one is None or not one[i]:
                heapq.heappush(self._ready[part_of[i]], i)
                woken.add(part_of[i])
        self._hot |= woken
        return woken

    # -- nodes -------------------------------------------------------------------------------

    def _start_held(self, f: int) -> None:
        fleet = self._layout.fleets[f]
        held = self._problem.held[fleet.held]
        for _ in range(fleet.count):
            self._grant(fleet.pool, fleet.parts, held.up_s, max(held.ready_s, self._now))

    def _start_running(self, scenarios: Scenarios, s: int) -> None:
        """Put the tasks that run on the held nodes of their pool, the emptiest first."""
        nodes = [n for n in self._nodes if n.up <= self._now]
        for (_, cls, pool, lo), left in zip(self._flying, scenarios.left_s, strict=True):
            mine = [n for n in nodes if n.pool == pool]
            slots, mem, gpus = self._need[cls]
            write = self._write[cls][pool]
            for i, left_s in enumerate(left[s].tolist(), lo):
                # With no node of its own in the layout a task never ends, as nobody works on it.
                if not mine:
                    break
                node = max(mine, key=lambda n: n.free)
                node.free -= slots
                node.mem -= mem
                node.gpus -= gpus
                node.running[cls, i] = self._part_of[cls][i]
                end = max(node.ready, self._now) + left_s + write
                self._push(end, DONE, node, (cls, i))
            for i in range(lo, lo + left.shape[1]):
                self._waiting[self._part_of[cls][i]] -= 1

    def _outage(self, p: int) -> tuple[float, float]:
        """The first outage of pool p that ends after now."""
        for gone, back in zip(self._gone[p], self._back[p], strict=True):
            if back > self._now:
                return gone, back
        return math.inf, math.inf

    def _request(self, name: int, pool: int, parts: tuple[int, ...]) -> None:
        if name in self._granted or not any(self._waiting[p] for p in parts):
            return
        gone, back = self._outage(pool)
        away = gone <= self._now
        shape = self._problem.pools[pool]
        if away or self._live[pool] >= shape.nodes_max:
            self._queue[pool].append((name, pool, parts))
            if away:
                if back < math.inf:
                    self._push(back + 1e-6, RETRY, pool)
                if (other := self._layout.fallback[pool]) != NO_POOL:
                    self._push(self._now + self._layout.patience_s, REQUEST, (name, other, parts))
            return
        self._granted.add(name)
        up = self._now + shape.provision_s * self._startup[pool]
        self._grant(pool, parts, up, up + shape.boot_s * self._startup[pool])

    def _grant(self, pool: int, parts: tuple[int, ...], up: float, ready: float) -> None:
        node = Node(pool, parts, up, ready)
        node.serves = self._serves[parts]
        shape = self._problem.pools[pool]
        node.free, node.mem, node.gpus = shape.vcpu, shape.mem_gb, shape.gpus
        self._nodes.append(node)
        self._crews.setdefault(parts, {})[node] = None
        for p in parts:
            self._members[p][node] = None
        self._live[pool] += 1
        self._push(ready, READY, node)
        gone, _ = self._outage(pool)
        if gone < math.inf:
            self._push(max(gone, self._now), RECLAIM, node)

    def _retry(self, pool: int) -> None:
        waiting, self._queue[pool] = self._queue[pool], []
        for ask in waiting:
            self._request(*ask)

    def _close(self, node: Node) -> None:
        node.end = self._now
        self._crews[node.parts].pop(node, None)
        for p in node.parts:
            self._members[p].pop(node, None)
        self._live[node.pool] -= 1
        if self._queue[node.pool]:
            self._retry(node.pool)

    def _reclaim(self, node: Node) -> None:
        self._reclaims += 1
        for cls, i in node.running:
            part = self._part_of[cls][i]
            self._waiting[part] += 1
            heapq.heappush(self._ready[part], i)
            self._hot.add(part)
        self._close(node)
        other = self._layout.fallback[node.pool]
        self._request(self._name(), node.pool if other == NO_POOL else other, node.parts)
        self._feed(node.parts)

    # -- tasks ---------------------------------------------------------------------------------

    def _dispatch(self, node: Node) -> None:
        """Start everything the node has room for, first parts first."""
        pool, now, ready, need = node.pool, self._now, self._ready, self._need
        hot, serves = self._hot, node.serves
        for part in sorted(hot) if len(hot) < len(serves) else node.parts:
            queue = ready[part]
            if not queue or part not in serves:
                continue
            cls = self._cls[part]
            slots, mem, gpus = need[cls]
            if not self._fits[cls][pool]:
                continue
            noise, work = self._noise[cls], self._compute[cls][pool] * self._slow[pool]
            while (
                queue and slots <= node.free + _EPS and mem <= node.mem + _EPS and gpus <= node.gpus
            ):
                i = heapq.heappop(queue)
                node.free -= slots
                node.mem -= mem
                node.gpus -= gpus
                end = now + work * noise[i % len(noise)] + self._io_s(cls, i, pool)
                node.running[cls, i] = part
                self._waiting[part] -= 1
                self._seq += 1
                heapq.heappush(self._events, (end, self._seq, DONE, node, (cls, i)))
            if not queue:
                hot.discard(part)
            if node.free < _EPS:
                return

    def _io_s(self, cls: int, i: int, pool: int) -> float:
        if self._local:
            return float(self._in_gb[cls] * self._read[cls][pool][0] + self._write[cls][pool])
        here, total = self._loc[pool], self._write[cls][pool]
        for loc, gb in self._reads(cls, i).items():
            total += gb * self._read[cls][pool][loc]
            self._egress += gb * self._usd_gb[loc][here]
        return float(total)

    def _reads(self, cls: int, i: int) -> dict[int, float]:
        """GB that a task reads, by where they are."""
        spec = self._problem.classes[cls]
        out: dict[int, float] = {}
        if spec.in_gb:
            out[int(self._tables.source_loc[cls])] = spec.in_gb
        for parent, mode, _ in self._tables.parents[cls]:
            other = self._problem.classes[parent]
            if mode == "all":
                for loc, gb in enumerate(self._by_loc[parent]):
                    if gb:
                        out[loc] = out.get(loc, 0.0) + gb / spec.count
            else:
                readers = max(1, spec.count // other.count)
                for j in overlap(i, spec.count, other.count):
                    loc = self._at_loc[parent][j]
                    out[loc] = out.get(loc, 0.0) + other.out_gb / readers
        return out

    def _done(self, node: Node, task: tuple[int, int]) -> None:
        cls, i = task
        del node.running[task]
        slots, mem, gpus = self._need[cls]
        node.free += slots
        node.mem += mem
        node.gpus += gpus
        self._open -= 1
        self._left[cls] -= 1
        if not self._local:
            here = self._loc[node.pool]
            self._at_loc[cls][i] = here
            self._by_loc[cls][here] += self._problem.classes[cls].out_gb
        woken = self._wake_kids(cls, i)
        self._dispatch(node)
        if woken:
            self._feed(tuple(woken))
        if not node.running or not self._waiting[self._part_of[cls][i]]:
            self._trim(node.parts)
            self._trim_unused(node)

    def _wake_kids(self, cls: int, i: int) -> set[int]:
        woken: set[int] = set()
        for kid, readers in self._kids_one[cls]:
            one = self._missing_one[kid]
            assert one is not None
            for j in readers[i]:
                one[j] -= 1
                if j < self._begun.get(kid, 0):
                    continue
                if not one[j] and not self._missing_all[kid]:
                    part = self._part_of[kid][j]
                    heapq.heappush(self._ready[part], j)
                    self._hot.add(part)
                    woken.add(part)
        if not self._left[cls]:
            for kid in self._kids_all[cls]:
                self._missing_all[kid] -= 1
                if not self._missing_all[kid]:
                    woken |= self._release_class(kid)
        return woken

    def _feed(self, parts: tuple[int, ...]) -> None:
        """New work in some parts: wake nodes with room, then ask for the lazy ones."""
        for p in sorted(parts):
            for node in list(self._members[p]):
                if not self._ready[p]:
                    break
                if node.free >= 1 - _EPS and node.ready <= self._now:
                    self._dispatch(node)
            self._ask_lazy(p)

    def _ask_lazy(self, p: int) -> None:
        if not self._ready[p] or p not in self._lazy:
            return
        for f in self._lazy[p]:
            if f not in self._asked_lazy:
                self._asked_lazy.add(f)
                fleet = self._layout.fleets[f]
                for _ in range(fleet.count):
                    self._request(self._name(), fleet.pool, fleet.parts)

    def _trim(self, parts: tuple[int, ...]) -> None:
        """Nodes with nothing left to start in any of their parts go home."""
        waiting, now = self._waiting, self._now
        for serves, nodes in tuple(self._crews.items()):
            # What is left is mostly in the last parts: looking there first finds it at once.
            if not nodes or any(waiting[p] for p in reversed(serves)):
                continue
            if serves is not parts and self._serves[serves].isdisjoint(parts):
                continue
            for node in [n for n in nodes if not n.running and n.ready <= now]:
                self._close(node)

    def _trim_unused(self, node: Node) -> None:
        """A held node that serves nothing goes home when what runs on it has ended."""
        if not node.parts and not node.running and node.end == math.inf:
            self._close(node)

    def _outcome(self) -> Outcome:
        usd, now = 0.0, self._now
        for node in self._nodes:
            shape = self._problem.pools[node.pool]
            until = node.end if node.end < math.inf else max(now, node.up)
            usd += bill_usd(shape, until - node.up)
            if node.up < self._problem.now_s:
                usd -= bill_usd(shape, self._problem.now_s - node.up)
        end = math.inf if self._open else now
        return Outcome(end, usd + self._egress, self._egress, len(self._nodes), self._reclaims)

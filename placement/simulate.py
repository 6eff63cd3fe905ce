"""Class-level simulation of a layout in many scenarios at once: microseconds a task and scenario.

Parts are run one after the other, in an order in which each finds its inputs; within a part the
tasks go, a few at a time, to the lanes that are free first, in all scenarios together.  A lane is
what one task takes of a node.  Beyond `WAVES_MAX` tasks a lane, the first waves are poured in as a
fluid: a part of a million tasks costs what one of a few thousand does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from placement.billing import fleet_usd
from placement.dispatch import run_tasks
from placement.fleets import Fates, deep_enough
from placement.inflight import flying, occupy, through_losses
from placement.lanes import Lanes, Work
from placement.layout import Fleet, Layout, Part
from placement.pour import POUR_MIN
from placement.sample import Sample
from placement.serving import FleetState, Served

if TYPE_CHECKING:
    from placement.model import Problem, Running
    from placement.scenarios import Scenarios
    from placement.tables import Floats, Ints, Tables

_EPS: Final = 1e-9
# Seconds on the reference machine, measured: a part, a step of a part, a task in a scenario.
_PART_S: Final = 8e-4
_STEP_S: Final = 5e-5
_TASK_S: Final = 1.8e-7


class ClassSimulator:
    """One problem in one set of scenarios; run any number of layouts in it."""

    def __init__(self, problem: Problem, tables: Tables, scenarios: Scenarios) -> None:
        self.problem, self.tables, self.scenarios = problem, tables, scenarios
        self.fates = Fates(problem, scenarios)
        # Larger classes are handed on as a flow: from the first end of the parent to its last.
        self.one_read = frozenset(
            parent
            for k, deps in enumerate(tables.parents)
            for parent, mode, _ in deps
            if mode == "one" and max(tables.count[parent], tables.count[k]) <= POUR_MIN
        )
        self.base_s = self.each_s = 0.0

    def run(self, layout: Layout) -> Sample:
        """Simulate a layout in every scenario; `work_s` says how much work that was."""
        self.base_s, self.each_s = len(layout.parts) * _PART_S, 0.0
        return _Execution(self, layout).run()

    @property
    def work_s(self) -> float:
        """Seconds that the last run takes on the reference machine."""
        return self.base_s + self.each_s * self.scenarios.size


class _Execution:
    def __init__(self, sim: ClassSimulator, layout: Layout) -> None:
        self.sim, self.layout = sim, layout
        self.fallback = deep_enough(sim.problem, layout)
        self.problem, self.tables, self.scen = sim.problem, sim.tables, sim.scenarios
        size, classes = self.scen.size, len(self.problem.classes)
        self.fleets = [self._start(f) for f in layout.fleets]
        self.done_s = np.full((classes, size), self.problem.now_s)
        self.first_end_s = np.full((classes, size), np.inf)
        self.end_s: dict[int, Floats] = {}
        self.last_start_s = np.full((len(layout.parts), size), -np.inf)
        locations = len(self.tables.locations)
        self.at_loc = np.zeros((classes, size, locations)) if locations > 1 else None
        self.egress_usd = np.zeros(size)
        self.ready_s = np.zeros(len(layout.parts))
        self.request_usd = np.zeros(size)
        self.tasks = np.zeros((len(layout.parts), len(layout.fleets)))
        self.begun = [0] * classes
        self.rows = np.arange(size)[:, None, None]
        self.served: dict[tuple[int, ...], Served] = {}
        for (run, cls, pool, lo), left in zip(flying(self.problem), self.scen.left_s, strict=True):
            self._fly(run, (cls, pool, lo), left)

    def _start(self, fleet: Fleet) -> FleetState:
        pool = self.problem.pools[fleet.pool]
        slots = [self.problem.classes[self.layout.parts[p].cls].slots for p in fleet.parts]
        unit = min([s for s in slots if s <= pool.vcpu], default=pool.vcpu)
        shape = (self.scen.size, fleet.count, max(1, int(pool.vcpu / unit + _EPS)))
        state = FleetState(fleet, unit, None, np.zeros(shape), [0] * fleet.count)
        if fleet.at_s is not None or fleet.held >= 0:
            self._ask(state, fleet.at_s or 0.0)
        return state

    def _ask(self, state: FleetState, at_s: Floats | float) -> None:
        fleet, layout = state.fleet, self.layout
        if fleet.held >= 0:
            held = self.problem.held[fleet.held]
            ready = max(held.ready_s, self.problem.now_s)
            rules = (self.fallback, layout.patience_s)
            state.fate = self.sim.fates.held(fleet.pool, held.up_s, ready, *rules)
        else:
            state.fate = self.sim.fates.of(fleet.pool, at_s, self.fallback, layout.patience_s)
        state.free_s[:] = state.fate.ready_s[:, 0, None, None]
        state.is_own = bool((state.fate.pool[:, 0] == fleet.pool).all())

    def run(self) -> Sample:
        for p in self._part_order():
            self._run_part(p)
        end = self.done_s.max(axis=0)
        usd = self._bill() + self.egress_usd + self.request_usd
        return Sample(
            end_s=end,
            usd=usd,
            egress_usd=self.egress_usd,
            request_usd=self.request_usd,
            ready_s=self.ready_s,
            done_s=self.done_s.mean(axis=1),
            tasks=self.tasks,
        )

    # -- what runs already -----------------------------------------------------------------

    def _fly(self, run: Running, place: tuple[int, int, int], left_s: Floats) -> None:
        """Keep held nodes busy with the tasks that run there, and note when these end."""
        cls, pool, lo = place
        self.begun[cls] = lo + run.count
        held = [
            (f, s)
            for f, s in enumerate(self.fleets)
            if s.fleet.pool == pool and s.fleet.held >= 0 and s.fate is not None
        ]
        if not held:
            self.done_s[cls] = np.inf
            return
        reads_gb, usd = self._reads(cls, [pool])
        at = 0
        for k, (f, state) in enumerate(held):
            room = state.fleet.count * self._lanes_of(state, cls)
            count = run.count - at if k == len(held) - 1 else min(room, run.count - at)
            if not count:
                break  # Those before it had room for all of them.
            ends, lost = self._flown(state, cls, lo + at, left_s[:, at : at + count], reads_gb)
            self.egress_usd += lost * usd[:, 0]
            self._note_flown(cls, lo + at, ends, f)
            at += count

    def _flown(
        self, state: FleetState, cls: int, lo: int, left_s: Floats, reads_gb: Floats
    ) -> tuple[Floats, Floats]:
        """Ends of some running tasks of one held fleet (S, n), and how many are lost (S,)."""
        fate, tables, noise = state.fate, self.tables, self.scen.noise[cls]
        assert fate is not None
        tasks = np.arange(lo, lo + left_s.shape[1]) % noise.shape[1]
        rows = np.arange(self.scen.size)[:, None]
        compute = tables.compute_s[cls, fate.pool] * self.scen.slow[rows, fate.pool]
        io = np.einsum("sl,spl->sp", reads_gb, tables.read_s_gb[cls][fate.pool])
        io += tables.write_s[cls, fate.pool]
        again = compute[:, None, :] * noise[:, tasks][:, :, None] + io[:, None, :]
        ready = np.maximum(fate.ready_s[:, 0], self.problem.now_s)
        ends = ready[:, None] + left_s + tables.write_s[cls, state.fleet.pool]
        ends, begun = through_losses(fate, ends, again)
        width = max(1, int(np.ceil(self.problem.classes[cls].slots / state.unit - _EPS)))
        occupy(state.free_s, state.taken, ends, width)
        for p, part in enumerate(self.layout.parts):
            if part.cls == cls and part.lo < lo + tasks.size and part.hi > lo:
                again_s = begun.max(axis=1)
                self.last_start_s[p] = np.maximum(self.last_start_s[p], again_s)
        return ends, np.isfinite(begun).sum(axis=1)

    def _note_flown(self, cls: int, lo: int, ends: Floats, f: int) -> None:
        count = ends.shape[1]
        if not count:
            return
        self.done_s[cls] = np.maximum(self.done_s[cls], ends.max(axis=1))
        self.first_end_s[cls] = np.minimum(self.first_end_s[cls], ends.min(axis=1))
        if cls in self.sim.one_read:
            known = self.end_s.setdefault(cls, np.zeros((self.scen.size, self.tables.count[cls])))
            known[:, lo : lo + count] = ends
        for p, part in enumerate(self.layout.parts):
            if part.cls == cls:
                self.tasks[p, f] += max(0, min(part.hi, lo + count) - max(part.lo, lo))
        if self.at_loc is not None:
            loc = self.tables.pool_loc[self.fleets[f].fleet.pool]
            self.at_loc[cls, :, loc] += count / self.tables.count[cls]

    # -- order -----------------------------------------------------------------------------

    def _part_order(self) -> list[int]:
        """Parts in order of priority, children after all parts of their parents."""
        open_parts = [0] * len(self.problem.classes)
        for part in self.layout.parts:
            open_parts[part.cls] += 1
        left, order = list(range(len(self.layout.parts))), []
        while left:
            for p in left:
                cls = self.layout.parts[p].cls
                if not any(open_parts[q] for q, _, _ in self.tables.parents[cls]):
                    break
            else:
                raise AssertionError("classes were checked to have no cycle")
            left.remove(p)
            order.append(p)
            open_parts[self.layout.parts[p].cls] -= 1
        return order

    # -- one part --------------------------------------------------------------------------

    def _run_part(self, p: int) -> None:
        whole = self.layout.parts[p]
        cls = whole.cls
        part = Part(cls, max(whole.lo, min(self.begun[cls], whole.hi)), whole.hi)
        self.request_usd += whole.count * self.tables.request_usd[cls]
        if not part.count:
            self.ready_s[p] = self.problem.now_s
            return
        ready = self._ready(part)
        self.ready_s[p] = ready.mean()
        mine = [
            f
            for f, state in enumerate(self.fleets)
            if p in state.fleet.parts and self._lanes_of(state, cls) > 0
        ]
        for f in mine:
            if self.fleets[f].fate is None:
                at = ready if ready.ndim == 1 else ready.min(axis=1)
                self._ask(self.fleets[f], at)
        if not mine:
            self.done_s[cls] = np.inf
            return
        served = self._served_by(tuple(mine))
        reads_gb, usd = self._reads(cls, served.own)
        lanes, blocks = self._gather(served, cls)
        work = self._work(part, served, reads_gb, ready)
        result = run_tasks(lanes, work)
        self.sim.base_s += result.steps * _STEP_S
        self.sim.each_s += result.listed * _TASK_S
        self._scatter(served.states, cls, lanes, blocks)
        self.last_start_s[p] = np.maximum(self.last_start_s[p], result.last_start_s)
        self.done_s[cls] = np.maximum(self.done_s[cls], result.last_end_s)
        self.first_end_s[cls] = np.minimum(self.first_end_s[cls], result.first_end_s)
        for parent, mode, _ in self.tables.parents[cls]:
            if mode == "one" and parent not in self.end_s:
                tail = self.done_s[parent] + self.tables.best_s[cls]
                self.done_s[cls] = np.maximum(self.done_s[cls], tail)
        if result.end_s is not None:
            ends = self.end_s.setdefault(cls, np.zeros((self.scen.size, self.tables.count[cls])))
            ends[:, part.lo : part.hi] = result.end_s
        per_fleet = result.tasks_by_fleet
        self.tasks[p, mine] += per_fleet.mean(axis=0)
        self.egress_usd += (per_fleet * usd).sum(axis=1)
        if self.at_loc is not None:
            for k, state in enumerate(served.states):
                loc = self.tables.pool_loc[state.fleet.pool]
                self.at_loc[cls, :, loc] += per_fleet[:, k] / self.tables.count[cls]

    def _served_by(self, mine: tuple[int, ...]) -> Served:
        """Some fleets as arrays: many parts are served by the same."""
        if mine not in self.served:
            states = [self.fleets[f] for f in mine]
            fates = [s.fate for s in states if s.fate is not None]
            is_steady = all(f.is_steady for f in fates)
            pools = np.stack([f.pool for f in fates], axis=1)
            self.served[mine] = Served(
                states=states,
                pools=pools,
                own=np.array([s.fleet.pool for s in states], dtype=np.intp),
                slow=self.scen.slow[self.rows, pools],
                lost_s=None if is_steady else np.stack([f.lost_s for f in fates], axis=1),
                ready_s=None if is_steady else np.stack([f.ready_s for f in fates], axis=1),
            )
        return self.served[mine]

    def _lanes_of(self, state: FleetState, cls: int) -> int:
        return int(self.tables.lanes[cls, state.fleet.pool])

    def _ready(self, part: Part) -> Floats:
        """When inputs are there: (S,), or (S, tasks) after a one-to-one parent of many tasks."""
        at = np.full(self.scen.size, self.problem.now_s)
        each: Floats | None = None
        for parent, mode, _ in self.tables.parents[part.cls]:
            count = max(self.tables.count[parent], self.tables.count[part.cls])
            if mode == "one" and count > POUR_MIN:
                at = np.maximum(at, self.first_end_s[parent])
                continue
            if mode == "all" or parent not in self.end_s:
                at = np.maximum(at, self.done_s[parent])
                continue
            n, m = int(self.tables.count[part.cls]), int(self.tables.count[parent])
            tasks = np.arange(part.lo, part.hi)
            lo, hi = tasks * m // n, np.maximum(tasks * m // n + 1, -(-(tasks + 1) * m // n))
            ends = self.end_s[parent]
            at_i = ends[:, lo]
            for step in range(1, int((hi - lo).max())):
                at_i = np.maximum(at_i, ends[:, np.minimum(lo + step, hi - 1)])
            each = at_i if each is None else np.maximum(each, at_i)
        return at if each is None else np.maximum(each, at[:, None])

    def _reads(self, cls: int, pools: Ints | list[int]) -> tuple[Floats, Floats]:
        """GB that a task reads by location (S, L), and USD for it from each fleet (S, F)."""
        spec, locations = self.problem.classes[cls], len(self.tables.locations)
        gb = np.zeros((self.scen.size, locations))
        gb[:, self.tables.source_loc[cls]] += spec.in_gb
        for parent, _, read in self.tables.parents[cls]:
            if self.at_loc is None:
                gb[:, 0] += read
            else:
                gb += read * self.at_loc[parent]
        usd = gb @ self.tables.egress_usd_gb[:, self.tables.pool_loc[pools]]
        return gb, usd

    def _gather(self, served: Served, cls: int) -> tuple[Lanes, list[Floats]]:
        """Turn free slots into lanes of the class: a lane is free when the last of its slots is."""
        free, fleet_of, blocks = [], [], []
        for k, state in enumerate(served.states):
            state.free_s.sort(axis=2)
            width = max(1, int(np.ceil(self.problem.classes[cls].slots / state.unit - _EPS)))
            count = min(self._lanes_of(state, cls), state.free_s.shape[2] // width)
            lanes = state.free_s[:, :, width - 1 : width * count : width]
            if not self._is_poured(cls):
                lanes = self._narrowed(state, cls, lanes)
            blocks.append(lanes)
            free.append(lanes.reshape(self.scen.size, -1))
            fleet_of.append(np.full(free[-1].shape[1], k, dtype=np.intp))
        joined = np.concatenate(free, axis=1)
        return Lanes(joined, np.concatenate(fleet_of), served.lost_s, served.ready_s), blocks

    def _is_poured(self, cls: int) -> bool:
        return int(self.tables.count[cls]) > POUR_MIN

    def _narrowed(self, state: FleetState, cls: int, lanes: Floats) -> Floats:
        """Lanes that a first fallback with smaller nodes does not have are never free."""
        if state.is_own:
            return lanes
        assert state.fate is not None
        there = self.tables.lanes[cls, state.fate.pool[:, 0]]
        if (there >= lanes.shape[2]).all():
            return lanes
        return np.where(np.arange(lanes.shape[2]) < there[:, None, None], lanes, np.inf)

    def _scatter(
        self, served: list[FleetState], cls: int, lanes: Lanes, blocks: list[Floats]
    ) -> None:
        """Write the lanes' ends back to the slots they are made of."""
        at = 0
        for state, before in zip(served, blocks, strict=True):
            nodes, count = before.shape[1], before.shape[2]
            after = lanes.free_s[:, at : at + nodes * count].reshape(before.shape)
            at += nodes * count
            width = max(1, int(np.ceil(self.problem.classes[cls].slots / state.unit - _EPS)))
            used = after > before + _EPS
            for w in range(width):
                view = state.free_s[:, :, w : width * count : width]
                np.copyto(view, after, where=used)

    def _work(self, part: Part, served: Served, reads_gb: Floats, ready: Floats) -> Work:
        cls, tables = part.cls, self.tables
        noise = self.scen.noise[cls]
        if part.count != tables.count[cls] or noise.shape[1] < part.count:
            columns = np.arange(part.lo, min(part.hi, part.lo + noise.shape[1])) % noise.shape[1]
            noise = noise[:, columns]
        pools = served.pools
        # A replacement with fewer lanes does the same work more slowly.
        first = tables.lanes[cls, served.own][None, :, None]
        lanes = tables.lanes[cls, pools]
        thinner = np.where(lanes > 0, np.maximum(1.0, first / np.maximum(lanes, 1)), np.inf)
        if not self._is_poured(cls):
            thinner[:, :, 0] = 1.0
        compute = tables.compute_s[cls, pools] * served.slow * thinner
        read = np.einsum("sl,sfpl->sfp", reads_gb, tables.read_s_gb[cls][pools])
        io = (read + tables.write_s[cls, pools]) * np.minimum(thinner, 1e9)
        return Work(
            count=part.count,
            compute_s=compute,
            io_s=io,
            noise=noise,
            ready_s=ready,
            keep_ends=cls in self.sim.one_read,
        )

    # -- the bill --------------------------------------------------------------------------

    def _bill(self) -> Floats:
        usd = np.zeros(self.scen.size)
        for state in self.fleets:
            if state.fate is None or not (state.fleet.parts or any(state.taken)):
                continue
            own = self.last_start_s[list(state.fleet.parts)]
            last = own.max(axis=0, initial=-np.inf)
            usd += fleet_usd(self.problem, state.fleet, state.fate, state.free_s, last)
        return usd

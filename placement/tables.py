"""A problem as arrays: who fits where, how long a task takes there, and what moving data costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from placement.errors import InfeasibleError
from placement.model import Pool, Problem, TaskClass, topological

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Arrays over classes (C), pools (P) and locations (L).

    Shapes: fits, lanes, compute_s, write_s, share (C, P); egress_usd_gb (L, L); read_s_gb (C, P, L)
    is seconds per GB read from a location; reads_gb is per class a tuple of (parent or -1, GB).
    Units: seconds at mean run time; `lanes` tasks that a node runs at once; `share` of a node
    that one task takes.
    """

    locations: tuple[str, ...]
    order: tuple[int, ...]
    rank_s: Floats
    fits: Bools
    lanes: Ints
    share: Floats
    compute_s: Floats
    write_s: Floats
    read_s_gb: Floats
    pool_loc: Ints
    source_loc: Ints
    egress_usd_gb: Floats
    parents: tuple[tuple[tuple[int, str, float], ...], ...]
    kids: tuple[tuple[int, ...], ...]
    count: Ints
    usd_s: Floats
    request_usd: Floats
    best_s: Floats


def fits_pool(cls: TaskClass, pool: Pool) -> bool:
    """Whether one task of the class can run on an empty node of the pool."""
    return (
        pool.speed.get(cls.kind, 0.0) > 0.0
        and cls.slots <= pool.vcpu
        and cls.mem_gb <= pool.mem_gb
        and cls.gpus <= pool.gpus
        and pool.nodes_max > 0
        and not missing_labels(cls, pool)
    )


def spared(problem: Problem, fits: Bools) -> Bools:
    """Who is kept off a pool that it fits in, for its GPUs.  Shapes: fits, result (C, P)."""
    has = np.array([pool.gpus > 0.0 for pool in problem.pools])
    plain = np.array([not cls.gpus for cls in problem.classes])
    can_do_without = problem.spares_gpus & plain & (fits & ~has).any(axis=1)
    off: Bools = can_do_without[:, None] & has[None, :]
    return off


def missing_labels(cls: TaskClass, pool: Pool) -> list[str]:
    """Labels that the class needs and the pool has not, or has with another value."""
    return [f"{k}={v}" for k, v in sorted(cls.labels.items()) if pool.labels.get(k) != v]


def read_gb(parent: TaskClass, child: TaskClass, mode: str) -> float:
    """GB that one task of `child` reads from `parent`, over all its inputs from there."""
    if mode == "all":
        return parent.count * parent.out_gb / child.count
    readers = max(1, child.count // parent.count)
    overlap = max(1.0, parent.count / child.count)
    return overlap * parent.out_gb / readers


def tables_of(problem: Problem) -> Tables:
    """Build the arrays once for a problem.

    Raises: InfeasibleError, naming the first class that fits in no pool and what it lacks.
    """
    classes, pools = problem.classes, problem.pools
    names = [p.loc for p in pools] + [c.source for c in classes]
    locations = tuple(dict.fromkeys(names))
    loc = {name: k for k, name in enumerate(locations)}
    fits = np.array([[fits_pool(c, p) for p in pools] for c in classes])
    fits &= ~spared(problem, fits)
    for k in np.flatnonzero(~fits.any(axis=1)):
        raise InfeasibleError(f"class {classes[k].name!r} fits in no pool", _lacks(problem, int(k)))
    speed = np.array([[p.speed.get(c.kind, 0.0) for p in pools] for c in classes])
    share, lanes = _shares(problem, fits)
    gbps = np.array([p.net_gbps / p.vcpu for p in pools])[None, :] * _column(classes, "slots")
    compute = np.where(fits, _column(classes, "work_s") / np.where(fits, speed, 1.0), np.inf)
    write = _column(classes, "out_gb") * 8.0 / gbps
    pool_loc = np.array([loc[p.loc] for p in pools], dtype=np.intp)
    wan = np.minimum(gbps, problem.network.wan_gbps)
    local = pool_loc[None, :, None] == np.arange(len(locations))[None, None, :]
    read = 8.0 / np.where(local, gbps[:, :, None], wan[:, :, None])
    index = {c.name: k for k, c in enumerate(classes)}
    parents = tuple(
        tuple(
            (index[d.parent], d.mode, read_gb(classes[index[d.parent]], c, d.mode)) for d in c.deps
        )
        for c in classes
    )
    kids: list[list[int]] = [[] for _ in classes]
    for child, deps in enumerate(parents):
        for parent, _, _ in deps:
            kids[parent].append(child)
    order = topological(classes)
    in_gb = np.array([c.in_gb + sum(gb for _, _, gb in parents[k]) for k, c in enumerate(classes)])
    nearest = compute + write + in_gb[:, None] * read.min(axis=2)
    best = nearest.min(axis=1)
    network = problem.network
    egress = [
        [network.egress_usd_gb.get((a, b), 0.0) * (a != b) for b in locations] for a in locations
    ]
    requests = [c.gets * network.get_usd + c.puts * network.put_usd for c in classes]
    return Tables(
        locations=locations,
        order=order,
        rank_s=_ranks(order, kids, best),
        fits=fits,
        lanes=lanes,
        share=share,
        compute_s=compute,
        write_s=write,
        read_s_gb=read,
        pool_loc=pool_loc,
        source_loc=np.array([loc[c.source] for c in classes], dtype=np.intp),
        egress_usd_gb=np.array(egress),
        parents=parents,
        kids=tuple(tuple(k) for k in kids),
        count=np.array([c.count for c in classes], dtype=np.intp),
        usd_s=np.array([p.usd_h / 3600.0 for p in pools]),
        request_usd=np.array(requests),
        best_s=best,
    )


def _column(classes: tuple[TaskClass, ...], name: str) -> Floats:
    return np.array([[float(getattr(c, name))] for c in classes])


def _shares(problem: Problem, fits: Bools) -> tuple[Floats, Ints]:
    """Share of a node that a task takes, and how many run at once (0 where it does not fit)."""
    share = np.zeros(fits.shape)
    for name, have in (("slots", "vcpu"), ("mem_gb", "mem_gb"), ("gpus", "gpus")):
        need = _column(problem.classes, name)
        size = np.array([float(getattr(p, have)) for p in problem.pools])[None, :]
        share = np.maximum(share, need / np.where(size > 0, size, np.inf))
    lanes = np.where(fits, np.floor(1.0 / np.maximum(share, 1e-9) + 1e-9), 0).astype(np.intp)
    return np.where(fits, share, np.inf), lanes


def _ranks(order: tuple[int, ...], kids: list[list[int]], best_s: Floats) -> Floats:
    """Seconds from the start of a class to the end of the run at best speed (upward rank)."""
    rank = np.zeros(len(order))
    for k in reversed(order):
        rank[k] = best_s[k] + max((rank[kid] for kid in kids[k]), default=0.0)
    return rank


def _lacks(problem: Problem, k: int) -> str:
    """What the pool that comes nearest to class k would have to offer."""
    cls = problem.classes[k]
    usable = [p for p in problem.pools if p.speed.get(cls.kind, 0.0) > 0.0 and p.nodes_max > 0]
    if not usable:
        return f"a pool with a speed for kind {cls.kind!r} and nodes_max above 0"
    labelled = [p for p in usable if not missing_labels(cls, p)]
    if not labelled:
        nearest = min((missing_labels(cls, p) for p in usable), key=len)
        return f"a pool with the labels {', '.join(nearest)}"
    usable = labelled
    wants = [
        f"{want}={need:g} (largest is {most:g})"
        for want, need, most in (
            ("vcpu", cls.slots, max(p.vcpu for p in usable)),
            ("mem_gb", cls.mem_gb, max(p.mem_gb for p in usable)),
            ("gpus", cls.gpus, max(p.gpus for p in usable)),
        )
        if need > most
    ]
    # Each need may be met by some pool, but never all by the same one.
    return "a pool with " + (", ".join(wants) or "all of its vcpu, memory and GPUs in one machine")

"""Read `placement-bench/1` instances and task graphs, and write plans in the judge's formats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from placement.errors import InvalidProblemError
from placement.layout import NO_POOL, Layout
from placement.model import Deadline, Dep, Network, Pool, Problem, Spot, TaskClass
from placement.taskgraph import TaskGraph

Json = Mapping[str, Any]


def problem_from(instance: Json, *, confidence: float = 0.95) -> Problem:
    """Translate an instance; defaults are those of the format."""
    egress = {(a, b): usd for a, row in instance["egress_usd_gb"].items() for b, usd in row.items()}
    return Problem(
        classes=tuple(_task_class(s) for s in instance["stages"]),
        pools=tuple(_pool(p) for p in instance["pools"]),
        objective=Deadline(at_s=instance["deadline_s"], confidence=confidence),
        network=Network(egress_usd_gb=egress, wan_gbps=instance["wan_gbps"]),
    )


def _task_class(stage: Json) -> TaskClass:
    return TaskClass(
        name=stage["id"],
        stage=stage["id"],
        count=stage["partitions"],
        work_s=stage["work_s"],
        cv=stage.get("cv") or 0.0,
        kind=stage["kind"],
        slots=stage.get("slots", 1),
        mem_gb=stage.get("mem_gb", 0.0),
        gpus=stage.get("gpus", 0),
        in_gb=stage.get("in_gb") or 0.0,
        source=stage.get("source") or "",
        out_gb=stage.get("out_gb", 0.0),
        deps=tuple(Dep(parent=parent, mode=mode) for parent, mode in stage.get("deps", [])),
    )


def _pool(pool: Json) -> Pool:
    return Pool(
        name=pool["name"],
        vcpu=pool["vcpu"],
        mem_gb=pool["mem_gb"],
        gpus=pool.get("gpus", 0),
        speed=pool["speed"],
        usd_h=pool["usd_h"],
        loc=pool["loc"],
        net_gbps=pool["net_gbps"],
        provision_s=pool.get("provision_s", 0),
        boot_s=pool.get("boot_s", 0),
        min_bill_s=pool.get("min_bill_s", 60),
        bill_s=pool.get("bill_s", 1),
        nodes_max=pool.get("max_nodes", 1_000_000),
        spot=_spot(pool.get("spot")),
    )


def _spot(spot: Json | None) -> Spot | None:
    if not spot:
        return None
    if trace := spot.get("trace"):
        return Spot(trace_up=tuple(bool(up) for up in trace["up"]), gap_s=trace["gap_s"])
    return Spot(reclaims_per_h=spot.get("reclaims_per_h", 0.0), outage_s=spot.get("outage_s", 0.0))


def plan_from(problem: Problem, layout: Layout) -> dict[str, Any]:
    """Write a layout as the judge's plan: one node an entry, one queue a part."""
    pools = [p.name for p in problem.pools]
    queues = {
        f"q{k}": [[problem.classes[part.cls].name, part.lo, part.hi]]
        for k, part in enumerate(layout.parts)
    }
    nodes = [
        {
            "id": f"f{f}n{n}",
            "pool": pools[fleet.pool],
            "at": fleet.at_s,
            "groups": [f"q{p}" for p in fleet.parts],
        }
        for f, fleet in enumerate(layout.fleets)
        for n in range(fleet.count)
    ]
    fallback = {
        pools[p]: pools[other] for p, other in enumerate(layout.fallback) if other != NO_POOL
    }
    return {
        "nodes": nodes,
        "queues": queues,
        "fallback": fallback,
        "patience_s": layout.patience_s,
    }


def graph_from(instance: Any) -> TaskGraph:  # noqa: ANN401  it is what must be checked
    """Translate a task graph of the second format.

    Raises: InvalidProblemError for what the format does not allow, naming the field.
    """
    fields = ("tasks", "edges", "nodes", "bandwidth")
    if not isinstance(instance, Mapping) or not set(fields) <= set(instance):
        lacks = [f for f in fields if not isinstance(instance, Mapping) or f not in instance]
        raise InvalidProblemError("graph", "must be an object with these fields", repr(lacks))
    for name in ("tasks", "nodes"):
        if not isinstance(instance[name], Mapping):
            raise InvalidProblemError(name, "must be an object, name -> number", "")
    return TaskGraph(
        work_s={task: _number(task, s) for task, s in instance["tasks"].items()},
        edges=tuple(_edge(edge) for edge in instance["edges"]),
        speed={node: _number(node, s) for node, s in instance["nodes"].items()},
        bandwidth=_number("bandwidth", instance["bandwidth"]),
    )


def _edge(edge: Any) -> tuple[str, str, float]:  # noqa: ANN401  it is what must be checked
    if (
        not isinstance(edge, list)
        or len(edge) != 3
        or not all(isinstance(t, str) for t in edge[:2])
    ):
        raise InvalidProblemError("edges", "an edge must be [from, to, bytes]", repr(edge))
    return edge[0], edge[1], _number("edges", edge[2])


def _number(where: str, value: Any) -> float:  # noqa: ANN401  it is what must be checked
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidProblemError(where, "must be a number", repr(value))
    return float(value)

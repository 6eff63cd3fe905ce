"""Problems with every field defaulted: a test names only what it is about."""

from dataclasses import replace
from typing import Any

from placement.layout import NO_POOL, Fleet, Layout, Part
from placement.model import Deadline, Dep, Network, Objective, Pool, Problem, TaskClass
from placement.scenarios import Scenarios, draw, mean_scenario
from placement.tables import tables_of


def cls(name: str = "a", count: int = 4, work_s: float = 100.0, **fields: Any) -> TaskClass:
    fields.setdefault("source", "A")
    fields.setdefault("mem_gb", 1)
    return TaskClass(name=name, count=count, work_s=work_s, **fields)


def pool(name: str = "p", **fields: Any) -> Pool:
    defaults: dict[str, Any] = {
        "vcpu": 2, "mem_gb": 8, "speed": {"cpu": 1.0}, "usd_h": 3600.0, "loc": "A",
        "net_gbps": 16.0, "provision_s": 10, "boot_s": 20, "min_bill_s": 0, "bill_s": 1,
        "nodes_max": 9,
    }  # fmt: skip
    return Pool(name=name, **{**defaults, **fields})


def after(*parents: str, mode: Any = "all") -> tuple[Dep, ...]:
    return tuple(Dep(parent=p, mode=mode) for p in parents)


def problem(
    classes: list[TaskClass] | None = None,
    pools: list[Pool] | None = None,
    objective: Objective | None = None,
    **fields: Any,
) -> Problem:
    return Problem(
        classes=tuple(classes or [cls()]),
        pools=tuple(pools or [pool()]),
        objective=objective or Deadline(at_s=1000.0),
        network=fields.pop(
            "network", Network(egress_usd_gb={("A", "B"): 1.0, ("B", "A"): 1.0}, wan_gbps=1.0)
        ),
        **fields,
    )


def layout(p: Problem, *fleets: Fleet, **fields: Any) -> Layout:
    order = tables_of(p).order
    parts = fields.pop("parts", tuple(Part(k, 0, p.classes[k].count) for k in order))
    every = tuple(range(len(parts)))
    asked = fleets or (Fleet(0, 1, 0.0, every),)
    fallback = fields.pop("fallback", (NO_POOL,) * len(p.pools))
    return Layout(parts, asked, fallback, **fields)


def luck(p: Problem, size: int = 8, seed: int = 0) -> Scenarios:
    return draw(p, size, seed, horizon_s=20_000.0)


def no_luck(p: Problem) -> Scenarios:
    return mean_scenario(p)


def outage(p: Problem, name: str, gone_s: float, back_s: float) -> Scenarios:
    """No noise, and one pool that is away once."""
    calm = mean_scenario(p)
    k = [x.name for x in p.pools].index(name)
    gone, back = calm.gone.copy(), calm.back.copy()
    gone[0, k, 0], back[0, k, 0] = gone_s, back_s
    return replace(calm, gone=gone, back=back)

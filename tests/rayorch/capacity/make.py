"""Profiles and questions with every field defaulted: a test names only what it is about."""

from typing import Any

from rayorch.capacity.asking import Question
from rayorch.plan.estimate import History, Measured, Sums, Work, observe
from rayorch.plan.pools import PoolsSpec
from rayorch.plan.profile import KIND, VERSION, Overheads, Profile, StageProfile, shape_of

MB = 10**6
GIB = 1 << 30


def sums(task_s: float, size_bytes: int, attempts: int = 40) -> Sums:
    some = [
        Measured(Work(size_bytes + 7 * at, 1_000 + at), "here", task_s, 50 * MB, size_bytes)
        for at in range(attempts)
    ]
    return observe(History("v"), some).pools["here"]


def stage(name: str = "lines", tasks: int = 40, task_s: float = 2.0, **fields: Any) -> StageProfile:
    """A stage of alike tasks that take so long, measured on one pool."""
    size_bytes = fields.pop("task_bytes", 60 * MB)
    made = StageProfile(
        name=name,
        tasks=tasks,
        memory_bytes=GIB,
        measured=tasks,
        files=0 if fields.get("after") else tasks,
        size_bytes=size_bytes * tasks,
        rows=1_000 * tasks,
        pools={"here": sums(task_s, size_bytes)},
        out_bytes=tasks,
        gets=1.0,
        puts=1.0,
        moved_bytes=float(size_bytes),
    )
    known = made.estimate().seconds(Work(size_bytes, 1_000), "here").mean
    fields.setdefault("bias", task_s / known)
    return StageProfile(**{name: getattr(made, name) for name in made.__struct_fields__} | fields)


def profile(*stages: StageProfile, **fields: Any) -> Profile:
    usual: dict[str, Any] = {
        "kind": KIND,
        "version": VERSION,
        "pipeline": "nightly",
        "state": "succeeded",
        "stages": stages or (stage(),),
        "overheads": Overheads(plan_s=0.5, start_s=0.5, divide_s=0.1, publish_s=0.2),
        "runners": {"here": 4},
    }
    return Profile(**usual | fields)


def pools(*specs: dict[str, Any], **fields: Any) -> PoolsSpec:
    usual = {"name": "here", "vcpu": 4, "memory": 16 * GIB, "usd_h": 0.4, "max_nodes": 20}
    given = [{**usual, **each} for each in specs or ({},)]
    return PoolsSpec.model_validate({"pools": given, **fields})


def question(**fields: Any) -> Question:
    usual: dict[str, Any] = {
        "profile": profile(),
        "growth": 1.0,
        "pools": pools(),
        "scenarios": 4,
        "search_s": 0.0,
    }
    return Question(**usual | fields)


SKEWED = shape_of([1.0] * 98 + [4.0, 9.0])

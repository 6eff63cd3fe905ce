"""The workloads by name, in the order they are run: the quick ones first."""

from collections.abc import Callable
from typing import Final

from benchmarks.keyed.jobs import KEYED
from benchmarks.session import Session
from benchmarks.workloads.core import core
from benchmarks.workloads.files import scan, tiny
from benchmarks.workloads.growth import capacity, runners, scale
from benchmarks.workloads.keyed import LIMITS, keyed, skew, tpch
from benchmarks.workloads.memory import memory, memory_keyed
from benchmarks.workloads.placing import placement
from benchmarks.workloads.recovery import recovery
from benchmarks.workloads.starting import startup
from benchmarks.workloads.stores import store
from benchmarks.workloads.straggler import throttled
from benchmarks.workloads.tasks import noop, pareto, submit
from benchmarks.workloads.wide import wide_exchange

WORKLOADS: Final[dict[str, Callable[[Session], None]]] = {
    "startup": startup,
    "core": core,
    "scale": scale,
    "recovery": recovery,
    "placement": placement,
    "capacity": capacity,
    "submit": submit,
    "noop": noop,
    "pareto": pareto,
    "scan": scan,
    "tiny": tiny,
    **{kind: keyed(kind) for kind in LIMITS},
    **{kind: tpch(kind) for kind in KEYED if kind not in LIMITS},
    "skew": skew,
    "store": store,
    "runners": runners,
    "wide-exchange": wide_exchange,
    "throttled": throttled,
    "memory": memory,
    "memory-keyed": memory_keyed,
}

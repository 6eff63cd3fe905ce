"""Where a run's work goes, as the core knows it: classes of tasks, pools, prices, and what is seen.

The planner makes these of a `placement.Plan`; the journal keeps them, so that the decision can be
told as it was taken and the ledger be folded from the same events that did the work.
"""

import zlib
from array import array
from collections.abc import Sequence
from typing import Final

import msgspec

from rayorch.ids import NodeId, RunId

CLASS_CODE: Final = "H"
"""Classes are numbered in 16 bits."""


class ClassPlacement(
    msgspec.Struct, frozen=True, omit_defaults=True, gc=False, forbid_unknown_fields=True
):
    """Alike tasks of one stage, and the pools that may run them, best first.

    `expected_s` has the mean seconds of one task on each of `pools`; no pools: any will do.
    """

    name: str
    stage: int
    tasks: int
    pools: tuple[str, ...] = ()
    expected_s: tuple[float, ...] = ()
    cv: float = 0.0
    source: str = ""  # where its input lies; "": where the prices say


class RunnersWanted(
    msgspec.Struct, frozen=True, omit_defaults=True, gc=False, forbid_unknown_fields=True
):
    """From `at_s` on, so many runners of a pool are wanted for the run.

    `nodes` are the machines that they fill, where more of them can be had by asking; else 0.
    Of a size that the run does not know, they are of each that it does.
    """

    pool: str
    at_s: float
    count: int
    nodes: int = 0
    cores: float = 0.0
    memory_bytes: int = 0
    gpus: float = 0.0


class NodesWanted(msgspec.Struct, frozen=True, gc=False):
    """So many machines of a pool, each with so many cores and GPUs for runners."""

    pool: str
    count: int
    cores: float
    gpus: float = 0.0


class PoolPrice(
    msgspec.Struct, frozen=True, omit_defaults=True, gc=False, forbid_unknown_fields=True
):
    """What a pool's work costs: USD per core and hour, per GB read, per request.

    `usd_core_h` is None where no price is known: the ledger then counts core hours alone. Data
    comes from `source`, at `egress_usd_gb`, but for what `egress` says of other places. Machines
    are billed in units of `bill_s` and for `min_bill_s` at least, where that is known.
    """

    pool: str
    usd_core_h: float | None = None
    egress_usd_gb: float = 0.0
    get_usd: float = 0.0
    put_usd: float = 0.0
    location: str = ""
    source: str = ""
    egress: tuple[tuple[str, float], ...] = ()  # place -> USD per GB from there
    bill_s: float = 0.0
    min_bill_s: float = 0.0

    def egress_from(self, source: str) -> float:
        """Return what a GB costs that comes from a place."""
        if source == self.source:
            return self.egress_usd_gb
        return next((usd for place, usd in self.egress if place == source), 0.0)


class NodeWindow(
    msgspec.Struct, frozen=True, omit_defaults=True, gc=False, forbid_unknown_fields=True
):
    """A node from one look at its meter to the next, and the runs that pay for it.

    `used` has node seconds, which add up to no more than the window. `usd_h` of the whole node is
    None where no price is known. A node that is `closed` is gone, or let go of.
    """

    node: NodeId
    pool: str
    cores: float
    from_s: float
    to_s: float
    usd_h: float | None = None
    bill_s: float = 0.0
    min_bill_s: float = 0.0
    used: tuple[tuple[RunId, float], ...] = ()
    closed: bool = False


class Forecast(
    msgspec.Struct, frozen=True, omit_defaults=True, gc=False, forbid_unknown_fields=True
):
    """What the whole run is expected to come to. `usd` is None where a price is not known.

    Units: seconds after the submission; `hit` is the share of simulated runs that keep the
    deadline, `core_hours` the cost where there are no prices; made at `from_s`.
    """

    usd: float | None = None
    core_hours: float = 0.0
    p50_s: float = 0.0
    p95_s: float = 0.0
    hit: float = 1.0
    from_s: float = 0.0


class ClassSeen(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """How far the tasks of a class are, since this control actor leads.

    `took` is measured over expected seconds, summed over `timed` attempts.
    """

    name: str
    done: int = 0
    running: tuple[tuple[str, int], ...] = ()  # pool -> tasks
    timed: int = 0
    took: float = 0.0


class Observed(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a run looks like when its plan is looked at again. Units: cores, USD."""

    at_s: float = 0.0
    submitted_s: float = 0.0
    classes: tuple[ClassSeen, ...] = ()
    runners: tuple[tuple[str, int], ...] = ()  # pool -> runners
    lost: tuple[str, ...] = ()  # pools that lost their last runner
    asked: tuple[tuple[str, int], ...] = ()  # pool -> machines, of those that can be had by asking
    spent_usd: float = 0.0


class Spent(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """What one stage took on one pool. `is_priced` is false once something had no known price.

    Units: `core_s` cores times seconds; USD; `wasted` is the part of it that came to nothing, and
    `lost` the part of that which went with a runner or a node. What a cache had was not moved:
    `saved` is what it would have cost.
    """

    attempts: int = 0
    core_s: float = 0.0
    wasted_core_s: float = 0.0
    lost_core_s: float = 0.0
    moved_bytes: int = 0
    cached_bytes: int = 0
    gets: int = 0
    puts: int = 0
    compute_usd: float = 0.0
    wasted_usd: float = 0.0
    lost_usd: float = 0.0
    egress_usd: float = 0.0
    request_usd: float = 0.0
    saved_usd: float = 0.0
    is_priced: bool = True

    @property
    def usd(self) -> float | None:
        """All dollars; None where a price is not known."""
        return self.compute_usd + self.egress_usd + self.request_usd if self.is_priced else None


class Charged(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """An attempt that was charged and did not become its task's commit (or was lost before it did).

    `ended` says that its own report was charged; one that was presumed lost may still report.
    """

    epoch: int
    attempt: int
    core_s: float
    ended: bool


class LinkSpent(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """What came over one link, from a place to a pool's. Units: bytes; USD of egress."""

    source: str
    to: str
    pool: str
    moved_bytes: int = 0
    cached_bytes: int = 0
    egress_usd: float = 0.0
    saved_usd: float = 0.0


class Paid(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """Node time that somebody paid for. Dollars are whole billionths, so that sums are exact."""

    core_s: float = 0.0
    nano_usd: int = 0
    unpriced_core_s: float = 0.0  # of these, without a known price

    def add(self, other: "Paid") -> None:
        """Add what another has."""
        self.core_s += other.core_s
        self.nano_usd += other.nano_usd
        self.unpriced_core_s += other.unpriced_core_s


def pack_classes(numbers: Sequence[int]) -> bytes:
    """Return the class of each task, small: alike neighbours cost nothing."""
    return zlib.compress(array(CLASS_CODE, numbers).tobytes(), 6)


def unpack_classes(data: bytes) -> Sequence[int]:
    """Return what `pack_classes` packed; nothing of nothing."""
    numbers = array(CLASS_CODE)
    if data:
        numbers.frombytes(zlib.decompress(data))
    return numbers

"""Where a run's work goes, as the core knows it: classes of tasks, pools, prices, and what is seen.

The planner makes these of a `placement.Plan`; the journal keeps them, so that the decision can be
told as it was taken and the ledger be folded from the same events that did the work.
"""

import zlib
from array import array
from collections.abc import Sequence
from typing import Final

import msgspec

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


class RunnersWanted(
    msgspec.Struct, frozen=True, omit_defaults=True, gc=False, forbid_unknown_fields=True
):
    """From `at_s` on, so many runners of a pool are wanted for the run."""

    pool: str
    at_s: float
    count: int


class PoolPrice(
    msgspec.Struct, frozen=True, omit_defaults=True, gc=False, forbid_unknown_fields=True
):
    """What a pool's work costs: USD per core and hour, per GB read, per request.

    `usd_core_h` is None where no price is known: the ledger then counts core hours alone.
    """

    pool: str
    usd_core_h: float | None = None
    egress_usd_gb: float = 0.0
    get_usd: float = 0.0
    put_usd: float = 0.0


class Forecast(
    msgspec.Struct, frozen=True, omit_defaults=True, gc=False, forbid_unknown_fields=True
):
    """What the whole run is expected to come to. `usd` is None where a price is not known.

    Units: seconds after the submission; `hit` is the share of simulated runs that keep the
    deadline, `core_hours` the cost where there are no prices.
    """

    usd: float | None = None
    core_hours: float = 0.0
    p50_s: float = 0.0
    p95_s: float = 0.0
    hit: float = 1.0


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
    spent_usd: float = 0.0


class Spent(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """What one stage took on one pool. `is_priced` is false once something had no known price.

    Units: `core_s` cores times seconds; USD; `wasted` is the part of it that came to nothing.
    """

    attempts: int = 0
    core_s: float = 0.0
    wasted_core_s: float = 0.0
    moved_bytes: int = 0
    gets: int = 0
    puts: int = 0
    compute_usd: float = 0.0
    wasted_usd: float = 0.0
    egress_usd: float = 0.0
    request_usd: float = 0.0
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


def pack_classes(numbers: Sequence[int]) -> bytes:
    """Return the class of each task, small: alike neighbours cost nothing."""
    return zlib.compress(array(CLASS_CODE, numbers).tobytes(), 6)


def unpack_classes(data: bytes) -> Sequence[int]:
    """Return what `pack_classes` packed; nothing of nothing."""
    numbers = array(CLASS_CODE)
    if data:
        numbers.frombytes(zlib.decompress(data))
    return numbers

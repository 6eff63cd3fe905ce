"""What a run has used of its machines since their meters were read last: its bill's last moments.

They are read when all is committed, and once more after its end. In between it makes its outputs
visible, and that is on its bill, too.
"""

from copy import copy
from typing import NamedTuple

from rayorch.core.accounts import HOUR_S
from rayorch.core.machine import Machine
from rayorch.core.placed import PoolPrice
from rayorch.core.run import Run


class Unread(NamedTuple):
    """Cores times seconds, and dollars as far as prices are known."""

    core_s: float = 0.0
    usd: float = 0.0


def unread(run: Run, machine: Machine) -> Unread:
    """Return what a run that has just ended is still to be charged."""
    meters, core_s, usd = machine.book.meters, 0.0, 0.0
    for meter in meters.nodes.values():
        # Another run may have taken over since, which pays from then on.
        if run.id not in meter.payers and run.id not in meter.seconds:
            continue
        last = copy(meter)
        last.seconds = dict(meter.seconds)
        last.advance(run.finished_s, meters.active)
        own_core_s = last.cores * last.seconds.get(run.id, 0.0)
        price = machine.accounts.prices.get(meter.pool, PoolPrice(meter.pool)).usd_core_h or 0.0
        core_usd_h = price if meter.usd_h is None else meter.usd_h / meter.cores
        core_s += own_core_s
        usd += core_usd_h * own_core_s / HOUR_S
    return Unread(core_s, usd)

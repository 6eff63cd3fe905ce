"""The last moments of a run on its bill: from when its meters were read to its end."""

import pytest

from rayorch.core.facts import Event, RunSubmitted
from rayorch.core.machine import Machine
from rayorch.core.meters import NodeMeter
from rayorch.core.values import StageShape
from rayorch.host.unread import unread
from rayorch.ids import EventId, NodeId, RunId
from tests.rayorch.host.make import RUN, RUNNER


def test_what_a_run_takes_to_make_its_outputs_visible_is_on_its_bill() -> None:
    """All was committed, and metered, at 100 s; it ended at 103 s, and others pay for the rest."""
    machine, elsewhere = Machine(), RunId("elsewhere")
    shapes = (StageShape(name="lines"),)
    machine.handle(Event(EventId(1), 10.0, RunSubmitted(RUN, "nightly", "v0", shapes, ("out",))))
    run, meters = machine.runs[RUN], machine.book.meters
    for name, payer in (("own", RUN), ("other", elsewhere)):
        meter = meters.nodes[NodeId(name)] = NodeMeter(NodeId(name), "pool", 4.0, 100.0)
        meter.usd_h = 2.0
        meter.hold(RUNNER, (payer, 1.0))
        meter.hold(RUNNER, None)
    meters.active = {RUN: None, elsewhere: None}
    run.finished_s = 103.0

    found = unread(run, machine)

    assert found.core_s == pytest.approx(4 * 3.0)
    assert found.usd == pytest.approx(2.0 * 3.0 / 3600.0)
    # It was looked at alone: the meter itself is read later.
    own = meters.nodes[NodeId("own")]
    assert (own.at_s, own.seconds) == (100.0, {})


def test_what_a_run_took_of_a_machine_that_another_has_taken_over_is_on_its_bill() -> None:
    """It was metered at 100 s, others took it over at 102 s, and the run ended at 103 s."""
    machine = Machine()
    shapes = (StageShape(name="lines"),)
    machine.handle(Event(EventId(1), 10.0, RunSubmitted(RUN, "nightly", "v0", shapes, ("out",))))
    run, meters = machine.runs[RUN], machine.book.meters
    meter = meters.nodes[NodeId("own")] = NodeMeter(NodeId("own"), "pool", 4.0, 100.0)
    meter.hold(RUNNER, (RUN, 1.0))
    meter.advance(102.0, meters.active)
    meter.hold(RUNNER, (RunId("elsewhere"), 1.0))
    run.finished_s = 103.0

    assert unread(run, machine).core_s == pytest.approx(4 * 2.0)

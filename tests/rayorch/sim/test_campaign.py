import logging
from typing import Any

import pytest

from rayorch.sim import campaign as module
from rayorch.sim.campaign import campaign
from rayorch.sim.simulate import Outcome, simulate

pytestmark = pytest.mark.sim


def test_nobody_is_warned_of_damage_that_is_done_on_purpose(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A home's own journal goes on to warn."""
    logger = logging.getLogger("rayorch.journal.log")

    def damaging(*asked: Any, **how: Any) -> Outcome:
        logger.warning("the journal is damaged")
        return simulate(*asked, **how)

    monkeypatch.setattr(module, "simulate", damaging)

    found = campaign(0, 2)

    assert found.seeds == 2
    assert caplog.messages == []
    logger.warning("a real one")
    assert caplog.messages == ["a real one"]

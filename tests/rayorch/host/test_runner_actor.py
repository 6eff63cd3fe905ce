"""When a runner ends by itself."""

import pytest

from rayorch.errors import FencedError
from rayorch.host.leader import FRESH_S
from rayorch.host.runner_actor import ORPHAN_S_MAX, is_abandoned
from rayorch.ids import Epoch

FENCED = FencedError(Epoch(1), Epoch(2))


@pytest.mark.parametrize(
    ("alone_s", "error", "elsewhere", "ends"),
    [
        (ORPHAN_S_MAX + 1.0, FENCED, False, True),
        (ORPHAN_S_MAX + 1.0, ValueError("no such actor"), False, True),
        (ORPHAN_S_MAX - 1.0, FENCED, False, False),
        (FRESH_S + 1.0, FENCED, True, True),
        (FRESH_S - 1.0, FENCED, True, False),
        (FRESH_S + 1.0, ValueError("no such actor"), True, False),
    ],
)
def test_a_runner_ends_when_nobody_will_ask_for_it_any_more(
    alone_s: float, error: Exception, elsewhere: bool, ends: bool
) -> None:
    """Fenced, its control actor answers for ever: that is no sign that another one comes."""
    assert is_abandoned(alone_s, error, lambda: elsewhere) is ends

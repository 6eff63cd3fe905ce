"""Starting and finding the control actor: what a client is told when it cannot lead."""

import pytest

from rayorch.errors import HomeBusyError
from rayorch.host.leader import Leader, sign, unsign
from tests.cluster.drill import Drill


def test_a_busy_home_is_refused_in_our_words_and_is_free_later(drill: Drill) -> None:
    """The refused actor must not stay: whoever comes next would be told of what is over."""
    somebody = Leader("in-process", "another", 1, drill.clock.now_s() + 60.0, "nightly-1")
    sign(drill.at.home, somebody)

    with pytest.raises(HomeBusyError, match="pid 1 on another, run=nightly-1"):
        drill.control()
    unsign(drill.at.home)
    control = drill.control()

    drill.check_output(drill.follow(control, drill.submit(control)))

"""What the times of events must not do."""

from rayorch.clock import ManualClock, SteadyClock


class Settable(ManualClock):
    """A machine whose time of day somebody sets."""

    ahead_s = 0.0

    def now_s(self) -> float:
        return super().now_s() + self.ahead_s


def test_the_time_of_events_does_not_jump_when_the_machines_clock_is_set() -> None:
    machine = Settable(1000.0)
    clock = SteadyClock(machine)

    machine.ahead_s = 3600.0
    machine.advance(5.0)
    assert clock.now_s() == 1005.0

    machine.ahead_s = -3600.0
    machine.advance(5.0)
    assert clock.now_s() == 1010.0


def test_the_time_of_events_goes_on_from_that_of_the_leader_before() -> None:
    """Its clock was ahead: what it let wait until then must not wait for hours."""
    machine = ManualClock(1000.0)
    clock = SteadyClock(machine)

    clock.go_on_from(4600.0)
    machine.advance(5.0)
    assert clock.now_s() == 4605.0

    clock.go_on_from(10.0)
    assert clock.now_s() == 4605.0

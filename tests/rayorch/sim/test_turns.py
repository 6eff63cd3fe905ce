import pytest

from rayorch.sim.turns import ControlCpu, Told


def test_what_a_control_actor_is_told_takes_its_time() -> None:
    cpu = ControlCpu(task_cpu_s=0.01)

    assert cpu.through_s(5.0, [Told(1, 2.0)]) == pytest.approx(5.01)
    assert cpu.through_s(5.0, [Told(1, 2.0), Told(1, 2.0)]) == pytest.approx(5.03)
    assert cpu.through_s(9.0, []) == 9.0


def test_what_ended_while_a_task_that_stands_for_many_ran_is_not_waited_for_at_its_end() -> None:
    """A hundred tasks in ten seconds take one second of it; more than fit take longer."""
    assert ControlCpu(0.01).through_s(10.0, [Told(100, 10.0)]) == 10.0
    assert ControlCpu(0.01).through_s(10.0, [Told(2_000, 10.0)]) == pytest.approx(20.0, abs=0.1)

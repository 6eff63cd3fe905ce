"""How many runners a machine holds, and which work a runner may be given."""

import pytest

from rayorch.core.sizes import Size

GIB = 1 << 30
PLAIN = Size(1.0, GIB)


@pytest.mark.parametrize(
    ("machine", "size", "count"),
    [
        (Size(8.0, 32 * GIB), PLAIN, 8),
        (Size(8.0, 4 * GIB), PLAIN, 4),
        (Size(8.0, 0), PLAIN, 8),  # nobody says how much memory it has
        (Size(2.0, 32 * GIB), Size(0.5, GIB), 4),
        (Size(2.0, 32 * GIB), Size(0.1, GIB), 20),  # in fractions, 2 is 19.99 times as much
        (Size(8.0, 32 * GIB), Size(3.0, GIB), 2),
        (Size(8.0, 32 * GIB), Size(16.0, GIB), 0),
        (Size(8.0, 32 * GIB, 2.0), Size(1.0, GIB, 1.0), 2),
        (Size(8.0, 32 * GIB, 2.0), Size(1.0, GIB, 0.5), 4),
        # A device is not shared by halves with the next one: two times two, not five.
        (Size(8.0, 32 * GIB, 2.0), Size(1.0, GIB, 0.4), 4),
        (Size(8.0, 32 * GIB, 3.0), Size(1.0, GIB, 2.0), 1),
        (Size(8.0, 32 * GIB), Size(1.0, GIB, 1.0), 0),
    ],
)
def test_a_machine_holds_as_many_as_it_has_cores_memory_and_gpus_for(
    machine: Size, size: Size, count: int
) -> None:
    assert machine.holds(size) == count


def test_what_is_left_of_a_machine_holds_fewer() -> None:
    machine = Size(8.0, 16 * GIB, 1.0)

    left = machine.without([Size(1.0, GIB, 0.5), Size(4.0, 8 * GIB)])

    assert left.holds(PLAIN) == 3
    assert left.holds(Size(1.0, GIB, 0.5)) == 1
    assert left.holds(Size(1.0, GIB, 1.0)) == 0


def test_a_machine_whose_memory_is_taken_holds_no_more() -> None:
    """Nothing left is not the same as nothing known."""
    assert Size(8.0, 2 * GIB).without([PLAIN, PLAIN]).holds(PLAIN) == 0
    assert Size(8.0, 0).without([PLAIN, PLAIN]).holds(PLAIN) == 6


def test_a_runner_serves_what_it_is_large_enough_for() -> None:
    assert Size(4.0, 4 * GIB).serves(PLAIN)
    assert not PLAIN.serves(Size(2.0, GIB))
    assert not PLAIN.serves(Size(1.0, 2 * GIB))


def test_a_runner_with_a_gpu_serves_only_what_needs_one() -> None:
    whole = Size(1.0, GIB, 1.0)

    assert whole.serves(Size(1.0, GIB, 0.5))
    assert not whole.serves(PLAIN)
    assert not PLAIN.serves(whole)
    assert not Size(1.0, GIB, 0.5).serves(whole)

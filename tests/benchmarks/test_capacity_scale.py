import pytest

from benchmarks.capacity_scale import question_of
from rayorch.capacity.answering import capacity


@pytest.mark.slow
def test_the_question_is_of_so_many_tasks_and_can_be_answered() -> None:
    """A question that nothing keeps would be over too soon to be timed."""
    found = capacity(question_of(8_000, 8, 2))

    assert found.tasks == 8_000
    assert not found.refused
    assert sum(need.nodes_max for need in found.pools) == 8

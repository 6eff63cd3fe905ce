"""Garbage in cycles is looked for less often while much is made that stays."""

import gc
from collections.abc import Iterator

import pytest

from rayorch.garbage import RARELY, few_collections


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_garbage_is_looked_for_rarely_until_the_work_is_done() -> None:
    gc.set_threshold(700, 10, 9)

    with few_collections():
        meanwhile = gc.get_threshold()

    assert meanwhile == (RARELY, 10, 9)
    assert gc.get_threshold() == (700, 10, 9)


def test_it_is_as_usual_again_when_the_work_fails() -> None:
    gc.set_threshold(700, 10, 9)

    with pytest.raises(ZeroDivisionError), few_collections():
        _ = 1 // 0

    assert gc.get_threshold() == (700, 10, 9)


@pytest.mark.parametrize("seldom", [0, RARELY + 1])
def test_what_somebody_has_made_rarer_stays(seldom: int) -> None:
    gc.set_threshold(seldom, 10, 9)

    with few_collections():
        assert gc.get_threshold() == (seldom, 10, 9)

    assert gc.get_threshold() == (seldom, 10, 9)

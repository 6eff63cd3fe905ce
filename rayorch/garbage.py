"""How often Python looks for garbage in cycles, while much is made that stays."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

RARELY: Final = 70_000
"""Objects that are made between two looks. Usually it is 700."""


@contextmanager
def few_collections() -> Iterator[None]:
    """Look for garbage in cycles a hundred times less often than usual, meanwhile.

    By the usual rule all that is made is looked at several times. Where it stays, or is no part of
    a cycle, nothing is found: of a large simulation that was a seventh of the time.
    """
    usual = gc.get_threshold()
    if usual[0] == 0 or usual[0] >= RARELY:
        yield  # Never, or somebody around us has seen to it.
        return
    gc.set_threshold(RARELY, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)

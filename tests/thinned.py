"""Some of many alike cases for every change; all of them for `make slow`."""

from collections.abc import Iterable
from typing import Any

import pytest


def thinned(cases: Iterable[Any], every: int, *, values: int = 1) -> list[Any]:
    """Return cases of so many values each for `parametrize`; only each so many-th is not slow."""
    return [
        pytest.param(
            *(case if values > 1 else (case,)), marks=[pytest.mark.slow] if number % every else []
        )
        for number, case in enumerate(cases)
    ]

"""The text of a refusal as a user sees it, with this machine's paths and lines taken out."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from rayorch.errors import RayorchError


def refusal(action: Callable[[], object], folder: Path | None = None) -> str:
    """Return what a user sees when the action is refused."""
    with pytest.raises(RayorchError) as caught:
        action()
    text = str(caught.value)
    if folder is not None:
        text = text.replace(str(folder), "FOLDER")
    return re.sub(r"/\S*/tests/\S+\.py:\d+", "FILE:LINE", text)

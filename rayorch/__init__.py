"""rayorch: partitioned Arrow transforms on Ray, committed exactly once."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rayorch.aggregate import Aggregate
    from rayorch.api import Dataset, Pipeline
    from rayorch.entry import read, run
    from rayorch.errors import RayorchError, SpecError
    from rayorch.params import param
    from rayorch.relational import SortKey
    from rayorch.remote import attach, submit
    from rayorch.spec import Budget, Deadline, RetryPolicy, Weighted

__all__ = [
    "Aggregate",
    "Budget",
    "Dataset",
    "Deadline",
    "Pipeline",
    "RayorchError",
    "RetryPolicy",
    "SortKey",
    "SpecError",
    "Weighted",
    "attach",
    "param",
    "read",
    "run",
    "submit",
]

_HOLDERS = {
    "rayorch.aggregate": ("Aggregate",),
    "rayorch.api": ("Dataset", "Pipeline"),
    "rayorch.entry": ("read", "run"),
    "rayorch.errors": ("RayorchError", "SpecError"),
    "rayorch.params": ("param",),
    "rayorch.relational": ("SortKey",),
    "rayorch.remote": ("attach", "submit"),
    "rayorch.spec": ("Budget", "Deadline", "RetryPolicy", "Weighted"),
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used.

    Arrow and pydantic take 0.3 s to import, and every process of ours passes through this file:
    `rayorch --help` needs neither.
    """
    for module, names in _HOLDERS.items():
        if name in names:
            value: object = getattr(import_module(module), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'rayorch' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return what is public."""
    return __all__

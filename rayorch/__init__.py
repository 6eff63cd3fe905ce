"""rayorch: partitioned Arrow transforms on Ray, committed exactly once."""

from rayorch.api import Dataset, Pipeline, read, run
from rayorch.errors import RayorchError, SpecError
from rayorch.params import param
from rayorch.spec import Budget, Deadline, RetryPolicy, Weighted

__all__ = [
    "Budget",
    "Dataset",
    "Deadline",
    "Pipeline",
    "RayorchError",
    "RetryPolicy",
    "SpecError",
    "Weighted",
    "param",
    "read",
    "run",
]

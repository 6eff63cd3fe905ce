"""What a user asked for, as frozen and validated values."""

from rayorch.spec.limits import Resources, RetryPolicy
from rayorch.spec.objective import Budget, Deadline, Objective, Weighted
from rayorch.spec.pipeline import PipelineSpec
from rayorch.spec.steps import (
    AnyTransform,
    FilterSpec,
    MapSpec,
    ReadSpec,
    SelectSpec,
    SqlSpec,
    UnionSpec,
    WriteSpec,
)

__all__ = [
    "AnyTransform",
    "Budget",
    "Deadline",
    "FilterSpec",
    "MapSpec",
    "Objective",
    "PipelineSpec",
    "ReadSpec",
    "Resources",
    "RetryPolicy",
    "SelectSpec",
    "SqlSpec",
    "UnionSpec",
    "Weighted",
    "WriteSpec",
]

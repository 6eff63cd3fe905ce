"""What a user asked for, as frozen and validated values."""

from rayorch.spec.limits import Resources, RetryPolicy
from rayorch.spec.objective import Budget, Deadline, Objective, Weighted
from rayorch.spec.pipeline import PipelineSpec
from rayorch.spec.relational import (
    AggregateSpec,
    AsofSpec,
    DedupeSpec,
    GroupMapSpec,
    JoinSpec,
    RepartitionSpec,
    SortSpec,
    WindowSpec,
)
from rayorch.spec.standing import Standing
from rayorch.spec.steps import (
    FilterSpec,
    MapSpec,
    ReadSpec,
    SelectSpec,
    SqlSpec,
    UnionSpec,
    WriteSpec,
)
from rayorch.spec.transforms import AnyTransform, OperatorSpec

__all__ = [
    "AggregateSpec",
    "AnyTransform",
    "AsofSpec",
    "Budget",
    "Deadline",
    "DedupeSpec",
    "FilterSpec",
    "GroupMapSpec",
    "JoinSpec",
    "MapSpec",
    "Objective",
    "OperatorSpec",
    "PipelineSpec",
    "ReadSpec",
    "RepartitionSpec",
    "Resources",
    "RetryPolicy",
    "SelectSpec",
    "SortSpec",
    "SqlSpec",
    "Standing",
    "UnionSpec",
    "Weighted",
    "WindowSpec",
    "WriteSpec",
]

"""All kinds of transform: what a pipeline's spec holds between its reads and its writes."""

from typing import Annotated

from pydantic import Field

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
from rayorch.spec.steps import FilterSpec, MapSpec, SelectSpec, SqlSpec, UnionSpec

StepSpec = MapSpec | FilterSpec | SelectSpec | SqlSpec
"""Transforms that take their rows batch by batch, as they come."""

OperatorSpec = (
    AggregateSpec
    | GroupMapSpec
    | JoinSpec
    | AsofSpec
    | SortSpec
    | DedupeSpec
    | RepartitionSpec
    | WindowSpec
)
"""Transforms that need all rows, in an order of their own: an exchange stands before them."""

AnyTransform = StepSpec | UnionSpec | OperatorSpec
TransformSpec = Annotated[AnyTransform, Field(discriminator="kind")]

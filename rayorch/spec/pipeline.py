"""A whole pipeline as values: what is read, transformed and written, for whom and how fast."""

import json
from typing import Self

from pydantic import Field, ValidationError, model_validator

from rayorch.errors import SpecError
from rayorch.spec.fields import Name, ParamValue, spec_error
from rayorch.spec.graph import (
    check_discards,
    check_inputs,
    check_makers,
    check_places,
    check_uses,
    topological_order,
)
from rayorch.spec.limits import RetryPolicy
from rayorch.spec.objective import Objective
from rayorch.spec.standing import Standing
from rayorch.spec.steps import ReadSpec, WriteSpec
from rayorch.spec.transforms import AnyTransform, TransformSpec


class PipelineHead(Standing):
    """What a pipeline is called, whose it is, and what it should reach."""

    name: Name
    owner: str = ""
    tags: dict[str, str] = Field(default_factory=dict)
    objective: Objective | None = None
    retry: RetryPolicy = RetryPolicy()
    params: dict[str, ParamValue] = Field(default_factory=dict)


class PipelineSpec(PipelineHead):
    """A DAG of transforms with an owner and an objective.

    A value of this class has been checked as a whole: every input exists, nothing is made twice,
    there is no cycle, and nothing is computed for nothing.
    """

    reads: tuple[ReadSpec, ...] = ()
    transforms: tuple[TransformSpec, ...] = ()
    writes: tuple[WriteSpec, ...] = ()
    discards: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        # SpecError is not a ValueError: it passes through pydantic with its own text.
        makers = self.makers()
        if not self.reads:
            raise SpecError(
                "the pipeline reads nothing", self.name, fix='begin with .read("name", url)'
            )
        check_makers(self.name, makers)
        known = [node.name for node in makers]
        check_inputs(self.name, [*makers, *self.writes], known)
        check_discards(self.name, self.discards, known)
        topological_order(self.name, makers)
        if not self.writes and not self.discards:
            raise SpecError(
                "the pipeline writes nothing",
                self.name,
                fix="end with .write(url), or with .discard() if only side effects matter",
            )
        used = [name for node in [*makers, *self.writes] for name in node.inputs]
        check_uses(self.name, makers, [*used, *self.discards])
        check_places(self.name, [(write.url, write) for write in self.writes])
        return self

    def makers(self) -> tuple[ReadSpec | AnyTransform, ...]:
        """Return all that makes a dataset, in the order of definition."""
        return (*self.reads, *self.transforms)

    def order(self) -> tuple[str, ...]:
        """Return the names of all datasets, inputs first."""
        return topological_order(self.name, self.makers())

    @classmethod
    def load(cls, text: str | bytes) -> Self:
        """Build from the JSON that `dump` made, or that a person wrote.

        Raises: SpecError.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise spec_error(error, _name_in(text), "") from None
        except SpecError as error:
            raise error.located(_name_in(text)) from None

    def dump(self) -> str:
        """Return JSON that `load` understands."""
        return self.model_dump_json(indent=2)


def _name_in(text: str | bytes) -> str:
    """Return the pipeline's name for an error, when the text has one."""
    try:
        value = json.loads(text)
    except ValueError:
        return ""
    return str(value.get("name", "")) if isinstance(value, dict) else ""

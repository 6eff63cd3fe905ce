"""A pipeline while its author writes it: parts are added, and checked each by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from rayorch.authoring import caller_place, checked_format, located, place_to_write
from rayorch.params import current_scope
from rayorch.spec import AnyTransform, PipelineSpec, ReadSpec, WriteSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rayorch.program import StepCode
    from rayorch.relational import OperatorCode
    from rayorch.spec.fields import SpecModel
    from rayorch.spec.pipeline import PipelineHead

    Part = TypeVar("Part", bound=SpecModel)


class Draft:
    """The parts of one pipeline so far, and what its transforms execute."""

    def __init__(self, head: PipelineHead) -> None:
        self.head = head
        self.codes: dict[str, StepCode | OperatorCode] = {}
        self.reads: list[ReadSpec] = []
        self.transforms: list[AnyTransform] = []
        self.writes: list[WriteSpec] = []
        self.discards: list[str] = []
        self._scope = current_scope()

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return self.head.name

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Refuse to be shipped: a function that mentions a pipeline would take all of it along."""
        raise TypeError("a Pipeline or Dataset cannot be used inside a transform")

    def spec(self) -> PipelineSpec:
        """Return the pipeline as values, checked as a whole.

        Raises: SpecError.
        """
        head = {field: getattr(self.head, field) for field in type(self.head).model_fields}
        fields = {
            **head,
            "params": {**self._scope.used, **self.head.params},
            "reads": tuple(self.reads),
            "transforms": tuple(self.transforms),
            "writes": tuple(self.writes),
            "discards": tuple(self.discards),
        }
        return PipelineSpec.of(self.name, "", fields)

    def part(self, model: type[Part], name: str, **fields: object) -> Part:
        """Return a checked read, transform or write, with its place in the author's file.

        Raises: SpecError.
        """
        where = str(fields.pop("where", "")) or caller_place()
        with located(self.name, str(name), where):
            return model.of(self.name, str(name), {"name": name, "where": where, **fields})

    def add_transform(self, spec: AnyTransform, code: StepCode | OperatorCode | None) -> str:
        """Add a transform and return the name of the dataset that it makes."""
        self.transforms.append(spec)
        if code is not None:
            # A name that is used twice is refused by `spec`, with both places.
            self.codes.setdefault(spec.name, code)
        return spec.name

    def add_write(self, of: str, name: str | None, url: str, fields: dict[str, object]) -> None:
        """Add a write of a dataset.

        Raises: SpecError.
        """
        taken = {write.name for write in self.writes}
        chosen = name or next(each for each in _numbered(of) if each not in taken)
        with located(self.name, chosen, caller_place()):
            place = place_to_write(url)
            checked_format(fields["format"])
        self.writes.append(self.part(WriteSpec, chosen, input=of, url=place, **fields))

    def free_name(self, wanted: str) -> str:
        """Return the name, with a number behind it when it is taken."""
        taken = {node.name for node in (*self.reads, *self.transforms)}
        return next(name for name in _numbered(wanted) if name not in taken)


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}{number}"
        number += 1

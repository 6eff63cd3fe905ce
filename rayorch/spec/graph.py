"""The rules between the parts of a pipeline, and the order they give."""

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Protocol

from rayorch.errors import SpecError, near_miss


class Node(Protocol):
    """A read, a transform or a write: something with a name that may have inputs."""

    @property
    def name(self) -> str:
        """The dataset it makes, or for a write its own name."""
        ...

    @property
    def inputs(self) -> tuple[str, ...]:
        """The datasets it takes."""
        ...

    @property
    def where(self) -> str:
        """The user's file and line."""
        ...


def check_makers(pipeline: str, makers: Sequence[Node]) -> None:
    """Refuse two reads or transforms that make one dataset.

    Raises: SpecError, naming the dataset and both places.
    """
    first: dict[str, Node] = {}
    for node in makers:
        other = first.setdefault(node.name, node)
        if other is not node:
            before = f"the first is at {other.where}\n" if other.where else ""
            raise SpecError(
                "two transforms write one dataset",
                pipeline,
                node.name,
                "output",
                repr(node.name),
                node.where,
                f"{before}give one of them another name",
            )


def check_inputs(pipeline: str, nodes: Iterable[Node], known: Iterable[str]) -> None:
    """Refuse an input that nothing makes.

    Raises: SpecError, naming the input and the nearest known dataset.
    """
    names = set(known)
    for node in nodes:
        for name in node.inputs:
            if name not in names:
                raise unknown_dataset(pipeline, node.name, "input", name, names, node.where)


def check_discards(pipeline: str, discards: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a discard of a dataset that nothing makes.

    Raises: SpecError, naming it and the nearest known dataset.
    """
    names = set(known)
    for name in discards:
        if name not in names:
            raise unknown_dataset(pipeline, "", "discard", name, names, "")


def unknown_dataset(
    pipeline: str, transform: str, field: str, name: str, known: Set[str], where: str
) -> SpecError:
    """Return the refusal of a name that no dataset has."""
    some = ", ".join(repr(each) for each in sorted(known)[:10])
    fix = near_miss(name, known - {transform}) or f"known datasets: {some}"
    return SpecError("unknown input", pipeline, transform, field, repr(name), where, fix)


def topological_order(pipeline: str, makers: Sequence[Node]) -> tuple[str, ...]:
    """Return the datasets so that each comes after its inputs; ties in the order of definition.

    Raises: SpecError, printing a cycle as a path.
    """
    by_name = {node.name: node for node in makers}
    waiting = {node.name: set(node.inputs) for node in makers}
    order: list[str] = []
    while waiting:
        ready = [name for name, inputs in waiting.items() if not inputs]
        if not ready:
            raise _cycle_error(pipeline, by_name, waiting)
        for name in ready:
            del waiting[name]
        done = set(ready)
        waiting = {name: inputs - done for name, inputs in waiting.items()}
        order += ready
    return tuple(order)


def check_uses(pipeline: str, makers: Sequence[Node], used: Iterable[str]) -> None:
    """Refuse a dataset that nobody reads, writes or discards: its work would be for nothing.

    Raises: SpecError, naming the dataset.
    """
    names = set(used)
    for node in makers:
        if node.name not in names:
            raise SpecError(
                "a dataset is made but never used",
                pipeline,
                node.name,
                "output",
                repr(node.name),
                node.where,
                "write it with .write(url), or say that only its side effects matter "
                "with .discard()",
            )


def check_places(pipeline: str, writes: Sequence[tuple[str, Node]]) -> None:
    """Refuse two writes to one place: each would replace or double what the other published.

    Raises: SpecError, naming the URL and both places.
    """
    first: dict[str, Node] = {}
    for url, node in writes:
        other = first.setdefault(url.rstrip("/"), node)
        if other is not node:
            raise SpecError(
                "two writes go to one place",
                pipeline,
                node.name,
                "url",
                repr(url),
                node.where,
                f"the other is {other.name!r}" + (f" at {other.where}" if other.where else ""),
            )


def _cycle_error(
    pipeline: str, by_name: Mapping[str, Node], waiting: Mapping[str, set[str]]
) -> SpecError:
    # Everything that waits has an input that waits: walking back along inputs must meet itself.
    path = [next(iter(waiting))]
    while path[-1] not in path[:-1]:
        path.append(min(waiting[path[-1]]))
    cycle = path[path.index(path[-1]) :][::-1]
    node = by_name[cycle[0]]
    return SpecError(
        "the pipeline has a cycle",
        pipeline,
        node.name,
        "input",
        " -> ".join(cycle),
        node.where,
        "a dataset cannot depend on itself; read one of these from storage instead",
    )

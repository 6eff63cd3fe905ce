"""Handles of datasets while a pipeline is written, and what every transform takes of its author."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict

from rayorch.authoring import caller_place
from rayorch.errors import SpecError
from rayorch.spec import Resources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rayorch.draft import Draft

NEEDS: Final = ("memory", "cores", "labels", "uses")


class Needs(TypedDict, total=False):
    """What a transform needs of a machine, for each of its tasks."""

    memory: int | str | None
    cores: float | None
    labels: Mapping[str, str] | None
    uses: Mapping[str, int] | None  # of outside resources, by their names


class Handle:
    """A named table of a pipeline that is being written."""

    __slots__ = ("draft", "name")

    def __init__(self, draft: Draft, name: str) -> None:
        self.draft = draft
        self.name = name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of pipeline {self.draft.name!r}>"


def resources_of(needs: Needs, gpus: float | None = None) -> Resources:
    """Return what a transform needs of a machine, and of what is outside. Raises: SpecError."""
    fields = {
        "memory_bytes": needs.get("memory"),
        "cores": needs.get("cores"),
        "gpus": gpus,
        "labels": needs.get("labels") or {},
        "uses": needs.get("uses") or {},
    }
    return Resources.of("", "", fields)


def input_name(draft: Draft, given: object) -> str:
    """Return the name of a dataset of this pipeline.

    Raises: SpecError, for anything else.
    """
    if isinstance(given, str):
        return given
    if not isinstance(given, Handle):
        raise SpecError(
            "an input must be a dataset of this pipeline",
            draft.name,
            field="input",
            value=type(given).__name__,
            where=caller_place(),
            fix="pass what .read or a transform returned, or a dataset's name",
        )
    if given.draft is not draft:
        raise SpecError(
            "an input belongs to another pipeline",
            draft.name,
            field="input",
            value=repr(given.name),
            where=caller_place(),
            fix=f"write it in {given.draft.name!r} and read it here",
        )
    return given.name

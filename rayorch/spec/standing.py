"""Whose work a run is, and how urgent it is among theirs."""

from typing import Annotated, Final

from pydantic import Field

from rayorch.ids import DEFAULT_TENANT
from rayorch.spec.fields import Name, SpecModel

PRIORITY_MAX: Final = 100
"""More steps than anybody tells apart."""

Priority = Annotated[int, Field(ge=-PRIORITY_MAX, le=PRIORITY_MAX, strict=True)]
"""Higher is served first, among the runs of one tenant; 0 is usual, below it can wait."""


class Standing(SpecModel):
    """What a run is served by, beside others on the same cluster."""

    tenant: Name = DEFAULT_TENANT
    priority: Priority = 0

    def changed(self, tenant: str | None, priority: int | None) -> "Standing | None":
        """Return this with another tenant or priority; None where neither is said.

        Raises: SpecError.
        """
        if tenant is None and priority is None:
            return None
        fields = {
            "tenant": self.tenant if tenant is None else tenant,
            "priority": self.priority if priority is None else priority,
        }
        return Standing.of(getattr(self, "name", ""), "", fields)

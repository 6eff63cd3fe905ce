"""What a home has of a run beside its journal: documents, and what it is to keep to."""

from typing import Any, Final

from pydantic import TypeAdapter

from connectors.errors import ObjectMissingError
from rayorch.client import Connection
from rayorch.host.leader import Leader
from rayorch.ids import RunId
from rayorch.spec.objective import Deadline, Objective

OBJECTIVE_IN: Final = ("pools", "spec")
"""The documents of a run that name its objective: what was asked of the run comes first."""
_OBJECTIVES: Final = TypeAdapter[Objective](Objective)


def metrics_text(leader: Leader | None) -> str:
    """Return where a leader serves its metrics; nothing, when it serves none."""
    if leader is None or not leader.metrics_url:
        return ""
    return f"{leader.metrics_url} (Prometheus, on {leader.machine})"


def find_document(at: Connection, run: RunId, name: str) -> dict[str, Any] | None:
    """Return a document that a run may have. Raises: StoreError."""
    try:
        return at.home.get_json(run, name)
    except ObjectMissingError:
        return None


def read_deadline(at: Connection, run: RunId) -> float | None:
    """Return the deadline of a run, in seconds after its submission; None: it has none."""
    for name in OBJECTIVE_IN:
        document = find_document(at, run, name)
        if document is not None and document.get("objective") is not None:
            objective = _OBJECTIVES.validate_python(document["objective"])
            return objective.within.total_seconds() if isinstance(objective, Deadline) else None
    return None

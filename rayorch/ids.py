"""The ids of the house. A bare `str` or `int` never names a thing."""

import secrets
from typing import Final, NewType

RunId = NewType("RunId", str)
"""One execution of a pipeline, for example `nightly-20261122-031500-7f3a`."""

TaskId = NewType("TaskId", int)
"""The index of a task within its run."""

RunnerId = NewType("RunnerId", str)
"""One incarnation of a runner. A restarted runner has a new id."""

NodeId = NewType("NodeId", str)
"""One incarnation of a machine of the cluster."""

CacheId = NewType("CacheId", str)
"""The name that a machine's cache of remote files gave itself when it was first used."""

NO_CACHE: Final = CacheId("")

Epoch = NewType("Epoch", int)
"""The incarnation of the control actor: the number of its fence segment in the journal."""

EventId = NewType("EventId", int)
"""The number of a stamped event, growing within a home. Never reused."""


TenantId = NewType("TenantId", str)
"""Whose work a run is: those who share a cluster get their shares of it as tenants."""

DEFAULT_TENANT: Final = TenantId("default")
"""The tenant of runs of which nobody said whose they are."""


def new_nonce() -> str:
    """Return 128 random bits in hex: what makes a segment, a run or a runner unlike any other."""
    return secrets.token_hex(16)

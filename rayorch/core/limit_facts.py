"""What holds runs back: policies, admission, quotas, and what is held of outside resources."""

from rayorch.core.policy import Policy
from rayorch.core.values import ErrorInfo
from rayorch.core.wire import Wire
from rayorch.ids import RunId, RunnerId


class PolicyApplied(Wire, frozen=True):
    """A person said what the tenants of the home may have, from now on."""

    policy: Policy


class RunAdmitted(Wire, frozen=True):
    """A run that waited, because many were worked on, is planned now."""

    run: RunId


class RunBlocked(Wire, frozen=True):
    """A run may not go on: a quota of its tenant is used up. It can be resumed once there is room.

    `cause` is quota, budget or policy.
    """

    run: RunId
    cause: str
    error: ErrorInfo


class RunHeld(Wire, frozen=True):
    """A run with something ready is given nothing, or is again. Told, not decided by it.

    `cause` is cheap, limit, quota, share or machines; `until_s` when it goes on at the latest, as
    far as that is known; else 0.
    """

    run: RunId
    cause: str
    why: str
    until_s: float = 0.0
    held: bool = True


class UnitsTaken(Wire, frozen=True):
    """A runner holds so much of outside resources, for whatever tasks it is given that use them.

    A runner works on one task at a time, so what it holds does not grow with its queue. Journaled
    before any lease that rests on it is sent: whoever leads next counts it, too.
    """

    runner: RunnerId
    units: tuple[tuple[str, int], ...]


class UnitsFreed(Wire, frozen=True):
    """A runner holds nothing of outside resources any more: it uses none, or has ended."""

    runner: RunnerId

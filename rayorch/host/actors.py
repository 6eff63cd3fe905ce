"""The one place that names Ray's decorators: plain classes become actors here."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import ray

from rayorch.core.sizes import Size
from rayorch.ids import RunnerId

CONTROL_CALLS_MAX: Final = 1000
ORDERS: Final = "orders"
"""The group of a runner's calls that are carried out one by one, in the order they were made."""
GUARD: Final = "guard"


def runner_actor(plain: type, runner: RunnerId, size: Size, selector: Mapping[str, str]) -> Any:  # noqa: ANN401 - untyped in Ray.
    """Return what starts a runner by `.remote(spec)`, on a node whose labels the selector names.

    So much of the node is its own; Ray says in CUDA_VISIBLE_DEVICES which GPUs those are.

    Detached, or it would die with the control actor. Never restarted by Ray: where a new one
    belongs is a decision of the plan.
    """
    grouped: Any = ray.remote(concurrency_groups={ORDERS: 1, GUARD: 1})(plain)  # type: ignore[call-overload]
    return grouped.options(
        name=runner,
        lifetime="detached",
        num_cpus=size.cores,
        num_gpus=size.gpus or None,
        memory=size.memory_bytes,
        label_selector=dict(selector) or None,
        max_restarts=0,
        max_task_retries=0,
        enable_task_events=False,
    )


def control_actor(
    plain: type,
    name: str,
    places: Sequence[Mapping[str, str]] = (),
    calls_max: int = CONTROL_CALLS_MAX,
) -> Any:  # noqa: ANN401 - untyped in Ray.
    """Return what starts the control actor by `.remote(...)`, or finds it if it lives.

    It goes to the first of the places, each the labels of a node, that is there; so it does when
    Ray restarts it, empty: what it knows is in the journal.
    """
    first, *others = [dict(place) for place in places] or [{}]
    return ray.remote(plain).options(
        label_selector=first or None,
        fallback_strategy=[{"label_selector": each} for each in others] or None,
        name=name,
        lifetime="detached",
        get_if_exists=True,
        num_cpus=0,
        max_restarts=-1,
        max_task_retries=0,
        max_concurrency=calls_max,
        enable_task_events=False,
    )


def capacity_actor(plain: type, name: str) -> Any:  # noqa: ANN401 - untyped in Ray.
    """Return what starts the desk of a cluster's homes by `.remote()`, or finds it if it lives.

    What it knows, they say again.
    """
    return control_actor(plain, name, calls_max=1)


def head_task(plain: Callable[..., object]) -> Any:  # noqa: ANN401 - untyped in Ray.
    """Return what executes a function once on the head by `.remote(...)`, with or without cores."""
    on_head = {"node:__internal_head__": 0.001}
    return ray.remote(plain).options(num_cpus=0, resources=on_head, max_retries=0)

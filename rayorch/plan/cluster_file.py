"""A Ray cluster-launcher file, the one that `ray up` takes, as a description of pools.

Each node type is a kind of machine: its labels say its pool and what it costs, its resources how
large it is, its `node_config` what the cloud is to start. Ray's own check of the file is Ray's;
this one refuses what Ray would take and nothing could be placed by.

    metadata:
      rayorch:
        prices: prices.yaml          # a price book, beside this file
        data_location: us-east-1     # where sources and outputs lie
        locations: {s3://lake-eu: eu-west-1}   # but for these
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationError

from rayorch.errors import PoolsError, near_miss
from rayorch.plan.labels import POOL_LABEL, ZONE_LABEL, LabelProblem, check_labels
from rayorch.plan.machines import Machine, refused_label
from rayorch.plan.pools import LOCATIONS_MAX, Given, Root
from rayorch.plan.prices import Fact
from rayorch.plan.yaml_files import refusal
from rayorch.spec.fields import Name, shown

NODE_TYPES: Final = "available_node_types"
"""What makes a YAML file one of these."""
RESOURCES: Final[Mapping[str, str]] = {"CPU": "vcpu", "memory": "memory", "GPU": "gpus"}
WORKERS_USUAL: Final = 2
"""The most workers of a cluster whose file does not say it: Ray's own default."""


class RayorchSpec(Given):
    """What the file says to rayorch alone, where Ray lets users say what they like."""

    prices: str | None = None
    data_location: str | None = None
    locations: dict[Root, Name] = Field(default_factory=dict, max_length=LOCATIONS_MAX)


def is_cluster_file(given: object) -> bool:
    """Say whether a document is a cluster-launcher file."""
    return isinstance(given, dict) and NODE_TYPES in given


def settings_of(given: Mapping[str, Any], file: str) -> RayorchSpec:
    """Return what the file says to rayorch alone. Raises: PoolsError."""
    metadata = _mapping(given.get("metadata") or {}, "metadata", file)
    said = _mapping(metadata.get("rayorch") or {}, "metadata.rayorch", file)
    try:
        return RayorchSpec.model_validate(said)
    except ValidationError as error:
        refused = refusal(error, said, file, {"": RayorchSpec})
        place = f"metadata.rayorch.{refused.field}"
        raise PoolsError(refused.problem, file, place, refused.value) from None


def prices_beside(file: str, prices: str) -> str:
    """Return the path of a price book that a cluster file names, as seen from that file.

    Raises: PoolsError, when it is not there.
    """
    path = Path(file).expanduser().parent / prices
    if not path.exists():
        problem = "its price book is not there: bring it along, or name one with --prices"
        raise PoolsError(problem, file, "metadata.rayorch.prices", prices)
    return str(path)


def machines_of(given: Mapping[str, Any], file: str) -> list[Machine]:
    """Return the node types of a cluster file that there can be nodes of.

    Raises: PoolsError, naming the node type, the field and the value.
    """
    provider = _mapping(given.get("provider") or {}, "provider", file)
    types = _mapping(given[NODE_TYPES], NODE_TYPES, file)
    if not types:
        raise PoolsError("at least one node type is needed", file, NODE_TYPES, "")
    head = given.get("head_node_type")
    if head not in types:
        problem = f"must name one of the node types: {', '.join(map(str, types))}"
        raise PoolsError(problem, file, "head_node_type", shown(head))
    workers_max = workers_of(given, file)
    machines = [
        _machine(str(name), node, provider, file, workers_max, is_head=name == head)
        for name, node in types.items()
    ]
    return [machine for machine in machines if machine.nodes_max]


def workers_of(given: Mapping[str, Any], file: str) -> int:
    """Return how many workers of all node types there may be at once. Raises: PoolsError."""
    return _count("", given, "max_workers", WORKERS_USUAL, file)


def _machine(
    name: str,
    node: object,
    provider: Mapping[str, Any],
    file: str,
    workers_max: int,
    *,
    is_head: bool,
) -> Machine:
    of = f"node type {name}"
    node = _mapping(node, of, file)
    labels = _labels(of, node, file, is_head=is_head)
    low = _count(of, node, "min_workers", 0, file)
    high = _count(of, node, "max_workers", 0 if is_head else workers_max, file)
    if high < low:
        problem = f"min_workers is above max_workers, which is {high}"
        raise PoolsError(problem, file, f"{of}, min_workers", str(low))
    return Machine(
        name=of,
        labels=labels,
        given=dict(_given(of, node, labels, provider, file)),
        # The head itself is there, whatever workers of its type there may be.
        nodes_min=low + is_head,
        nodes_max=min(high, workers_max) + is_head,
    )


def _labels(of: str, node: Mapping[str, Any], file: str, *, is_head: bool) -> dict[str, str]:
    given = _mapping(node.get("labels") or {}, f"{of}, labels", file)
    try:
        labels = check_labels(given)
    except LabelProblem as wrong:
        raise refused_label(wrong, of, file) from None
    if POOL_LABEL not in labels and not is_head:
        hint = near_miss(POOL_LABEL, labels)
        name = of.removeprefix("node type ")
        problem = f"the label `pool` is missing: {hint or f'labels: {{pool: {name}}}'}"
        raise PoolsError(problem, file, f"{of}, labels", "")
    return labels


def _given(
    of: str,
    node: Mapping[str, Any],
    labels: Mapping[str, str],
    provider: Mapping[str, Any],
    file: str,
) -> Iterator[tuple[str, Fact]]:
    """Yield what a node type says beside its labels."""
    resources = _mapping(node.get("resources") or {}, f"{of}, resources", file)
    for name, fact in RESOURCES.items():
        if name in resources:
            amount = _amount(resources[name], f"{of}, resources.{name}", file)
            yield fact, Fact(amount, f"resources of {of}")
    if resources and "GPU" not in resources:
        yield "gpus", Fact(0.0, f"resources of {of}")
    config = _mapping(node.get("node_config") or {}, f"{of}, node_config", file)
    source = f"node_config of {of}"
    cloud = _CLOUDS.get(str(provider.get("type")))
    if cloud is not None:
        instance_type = cloud.type_of(config)
        if instance_type:
            yield "instance_type", Fact(instance_type, source)
            yield "market", Fact("spot" if cloud.is_spot(config) else "on-demand", source)
        region = provider.get(cloud.region)
        if isinstance(region, str) and region:
            yield "location", Fact(region, f"provider.{cloud.region}")
    zones = str(provider.get("availability_zone") or "").replace(" ", "").split(",")
    zone = labels.get(ZONE_LABEL)
    if zones != [""] and zone is not None and zone not in zones:
        problem = f"provider.availability_zone says {', '.join(zones)}, the label another one"
        raise PoolsError(problem, file, f"{of}, labels.{ZONE_LABEL}", shown(zone))
    if len(zones) == 1 and zones[0]:
        yield "zone", Fact(zones[0], "provider.availability_zone")


@dataclass(frozen=True, slots=True)
class _Cloud:
    """Where the configuration of a cloud's nodes says what a pool has to know."""

    region: str
    type_of: Callable[[Mapping[str, Any]], str]
    is_spot: Callable[[Mapping[str, Any]], bool]


def _inner(config: Mapping[str, Any], *keys: str) -> Any:  # noqa: ANN401 - whatever YAML can hold.
    found: Any = config
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _aws_spot(config: Mapping[str, Any]) -> bool:
    return bool(_inner(config, "InstanceMarketOptions", "MarketType") == "spot")


def _gcp_spot(config: Mapping[str, Any]) -> bool:
    # A list of one mapping in Ray's own examples, a mapping in Google's.
    given = config.get("scheduling") or []
    scheduling = given if isinstance(given, list) else [given]
    return any(
        each.get("preemptible") is True or each.get("provisioningModel") == "SPOT"
        for each in scheduling
        if isinstance(each, dict)
    )


def _azure_spot(config: Mapping[str, Any]) -> bool:
    return bool(_inner(config, "azure_arm_parameters", "priority") == "Spot")


_CLOUDS: Final[Mapping[str, _Cloud]] = {
    "aws": _Cloud("region", lambda config: str(config.get("InstanceType") or ""), _aws_spot),
    "gcp": _Cloud("region", lambda config: str(config.get("machineType") or ""), _gcp_spot),
    "azure": _Cloud(
        "location",
        lambda config: str(_inner(config, "azure_arm_parameters", "vmSize") or ""),
        _azure_spot,
    ),
}


def _amount(value: object, place: str, file: str) -> float:
    # Ray takes whole numbers alone.
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise PoolsError("must be a whole number", file, place, shown(value))
    return float(value)


def _count(of: str, node: Mapping[str, Any], name: str, usual: int, file: str) -> int:
    place = f"{of}, {name}" if of else name
    return int(_amount(node.get(name, usual), place, file))


def _mapping(value: object, place: str, file: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise PoolsError("a mapping is needed", file, place, shown(value))
    return value

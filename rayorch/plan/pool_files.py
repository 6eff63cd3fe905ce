"""Files that describe pools, read: a file of pools, or the cluster file that `ray up` takes.

data_location: us-east-1          # where sources and outputs lie
egress_usd_gb: {us-east-1: {us-west-2: 0.02}}
pools:
  - name: m7i.4xlarge
    vcpu: 16
    memory: 64 GiB
    usd_h: 0.8064                 # left out: not known, and then no dollars are shown
    location: us-east-1
    max_nodes: 48
    spot: {reclaims_per_h: 0.03, outage_s: 1200}
    labels: {disk: nvme}          # what a transform may ask for
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from pydantic import BaseModel, ValidationError

from rayorch.errors import PoolsError
from rayorch.plan.cluster_file import (
    NODE_TYPES,
    is_cluster_file,
    machines_of,
    prices_beside,
    settings_of,
    workers_of,
)
from rayorch.plan.machines import Described, Machine, described_given, described_pools
from rayorch.plan.pools import PoolSpec, PoolsSpec, SpotSpec
from rayorch.plan.prices import NO_PRICES, PriceBook, read_prices
from rayorch.plan.yaml_files import loaded, refusal, text_of
from rayorch.spec.fields import shown

_MODELS: Final[Mapping[str, type[BaseModel]]] = {
    "": PoolsSpec,
    "pools": PoolSpec,
    "spot": SpotSpec,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFile:
    """What a file says of pools: as a plan takes it, and with where each fact is from.

    `machines` has the node types of a cluster file, the head among them; a file of pools has none.
    `nodes_max` is how many nodes of all its pools there can be at once, where it says so.
    """

    kind: Literal["pools", "cluster"]
    file: str
    prices: str
    spec: PoolsSpec
    described: tuple[Described, ...]
    machines: tuple[Machine, ...] = ()
    nodes_max: int | None = None


def read_pools(file: str, prices: str | None = None) -> PoolsSpec:
    """Return the pools of a file, a file of pools or a cluster file. Raises: PoolsError."""
    return read_pool_file(file, prices).spec


def parse_pools(text: str, file: str) -> PoolsSpec:
    """Return the pools that a text describes. As `read_pools`."""
    return parse_pool_file(text, file).spec


def read_pool_file(file: str, prices: str | None = None) -> PoolFile:
    """Return what a file says of pools, with what a price book adds.

    Raises: PoolsError, naming the file, the pool or node type, the field and the value.
    """
    return parse_pool_file(text_of(file), file, prices)


def parse_pool_file(text: str, file: str, prices: str | None = None) -> PoolFile:
    """Return what a YAML or JSON text says of pools. As `read_pool_file`."""
    given = loaded(text, file)
    if isinstance(given, list):
        given = {"pools": given}
    if not isinstance(given, dict):
        raise PoolsError("a mapping with `pools` is needed", file, "", shown(given))
    if is_cluster_file(given):
        return _cluster(given, file, prices)
    if "pools" not in given and {"cluster_name", "provider"} & given.keys():
        problem = f"a cluster file needs `{NODE_TYPES}`: they are what its pools are made of"
        raise PoolsError(problem, file, NODE_TYPES, "")
    return _pools(given, file, prices)


def _pools(given: Mapping[str, Any], file: str, prices: str | None) -> PoolFile:
    try:
        spec = PoolsSpec.model_validate(given)
    except ValidationError as error:
        raise refusal(error, given, file, _MODELS) from None
    book = _book(prices)
    described = [described_given(pool, book, file=file, prices=prices or "") for pool in spec.pools]
    book.check_pools(tuple(pool.name for pool in spec.pools), prices or "")
    changes: dict[str, object] = {"pools": [each.spec for each in described]}
    # What the file itself says of moving data goes before the book.
    changes |= {
        name: said for name, said in book.network().items() if name not in spec.model_fields_set
    }
    return PoolFile(
        kind="pools",
        file=file,
        prices=prices or "",
        spec=spec.model_copy(update=changes),
        described=tuple(described),
    )


def _cluster(given: Mapping[str, Any], file: str, prices: str | None) -> PoolFile:
    settings = settings_of(given, file)
    if prices is None and settings.prices:
        prices = prices_beside(file, settings.prices)
    book = _book(prices)
    machines = machines_of(given, file)
    described = described_pools(machines, book, file=file, prices=prices or "")
    if not described:
        raise _no_pool(given, machines, file)
    book.check_pools(tuple(each.spec.name for each in described), prices or "")
    described = [_in_zone(each, book.egress_usd_gb or {}) for each in described]
    spec = PoolsSpec(
        pools=[each.spec for each in described],
        data_location=settings.data_location,
        locations=settings.locations,
    )
    head = f"node type {given['head_node_type']}"  # It is there beside all workers.
    return PoolFile(
        kind="cluster",
        file=file,
        prices=prices or "",
        spec=spec.model_copy(update=book.network()),
        described=tuple(described),
        machines=tuple(machines),
        nodes_max=workers_of(given, file) + any(head in each.machines for each in described),
    )


def _in_zone(pool: Described, egress: Mapping[str, Mapping[str, object]]) -> Described:
    """Return a pool with its zone for a place, where moving data to or from that zone has a price.

    A region is enough for most: within it data moves for nothing, but for what some stores charge.
    """
    zone = pool.facts.get("zone")
    if zone is None or zone.value not in {*egress, *(to for row in egress.values() for to in row)}:
        return pool
    return replace(pool, spec=pool.spec.model_copy(update={"location": str(zone.value)}))


def _no_pool(given: Mapping[str, Any], machines: Sequence[Machine], file: str) -> PoolsError:
    there = {machine.name for machine in machines}
    gone = [name for name in given[NODE_TYPES] if f"node type {name}" not in there]
    if not gone:
        problem = "no node type has cores: there is no pool that a task could run on"
        return PoolsError(problem, file, NODE_TYPES, "")
    of = "" if workers_of(given, file) == 0 else f"node type {gone[0]}, "
    problem = f"there can be no node of {', '.join(gone)}: how many there may be is 0"
    return PoolsError(problem, file, f"{of}max_workers", "0")


def _book(prices: str | None) -> PriceBook:
    return NO_PRICES if prices is None else read_prices(prices)

"""The machines that a plan may use: pools, checked, of a file or of this machine alone."""

from collections.abc import Collection, Mapping
from typing import Annotated, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from connectors.errors import BadUrlError
from connectors.url import parse_url
from placement import Network, Pool, Spot
from rayorch.core.sizes import PART_MIN, Size
from rayorch.errors import PoolsError
from rayorch.plan.labels import LOCAL, NAME_IT, POOL_LABEL
from rayorch.spec.fields import Bytes, Name

GB: Final = 1e9
POOLS_MAX: Final = 1_000
LOCATIONS_MAX: Final = 1_000
NODES_MAX: Final = 1_000_000
UNKNOWN_BYTES: Final = 1 << 50
"""The memory of machines that nobody described: their executor refuses what they cannot hold."""
LOCAL_GBPS: Final = 1e6
"""What is measured on this machine has its reading and writing in it: they are not added again."""

USD_MAX: Final = 1e6
YEAR_S: Final = 366 * 86_400.0
RATIO_MIN: Final = 1e-3
"""What is beyond these is a slip of the pen, and would only overflow where it is reckoned with."""


def _number(value: object) -> object:
    # To YAML 1.1, `yes` and `on` are true, and true would pass for 1.
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic lets a TypeError through.
    return value


Number = Annotated[float, BeforeValidator(_number)]
Usd = Annotated[Number, Field(ge=0.0, le=USD_MAX)]
Duration = Annotated[Number, Field(ge=0.0, le=YEAR_S)]
Ratio = Annotated[Number, Field(ge=RATIO_MIN, le=1e6)]
Speed = Annotated[Number, Field(ge=RATIO_MIN, le=1e3)]
Billing = Annotated[Number, Field(ge=RATIO_MIN, le=YEAR_S)]
Gpus = Annotated[Number, Field(ge=0.0, le=1e4)]
Memory = Annotated[Bytes, Field(le=UNKNOWN_BYTES)]
PerHour = Annotated[Number, Field(ge=0.0, le=3600.0)]


def _root(value: object) -> object:
    """Return a URL as stores spell theirs, so that one begins with the other."""
    if not isinstance(value, str):
        raise ValueError("must be a URL")  # noqa: TRY004 - as above.
    try:
        return parse_url(value).url.rstrip("/")
    except BadUrlError as error:
        raise ValueError(str(error)) from None


Root = Annotated[str, BeforeValidator(_root)]


class Given(BaseModel):
    """Base of what files of pools and prices say: frozen, finite, and nothing unknown in it."""

    # Not strict: to YAML 1.1, 4e-7 is text.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SpotSpec(Given):
    """How a spot pool comes and goes, always as a whole."""

    reclaims_per_h: PerHour
    outage_s: Duration = 1200.0


class PoolSpec(Given):
    """Machines that are alike.

    Units: `provision_s` from request to running, unbilled; `boot_s` from running to working,
    billed; `bill_s` and `min_bill_s` seconds that are billed at once and at least; `speed` of one
    vCPU, where 1 is the machine that estimates are stated for. Transforms that ask for `labels`
    only go to pools that have them; None is a machine that takes whatever comes.
    """

    name: Name
    vcpu: Ratio
    memory: Memory
    gpus: Gpus = 0.0
    usd_h: Usd | None = None
    speed: Speed = 1.0
    bill_s: Billing = 1.0
    min_bill_s: Duration = 60.0
    provision_s: Duration = 25.0
    boot_s: Duration = 75.0
    spot: SpotSpec | None = None
    max_nodes: Annotated[int, BeforeValidator(_number), Field(ge=1, le=NODES_MAX)] = 48
    location: str = ""
    net_gbps: Ratio = 10.0
    labels: dict[str, str] | None = Field(default_factory=dict)


class PoolsSpec(Given):
    """All pools, and what it costs to move and to ask for data.

    `data_location` is where sources lie; without it, where the first pool is. `locations` says
    otherwise for what begins with a URL; the longest one counts.
    """

    pools: Annotated[list[PoolSpec], Field(min_length=1, max_length=POOLS_MAX)]
    data_location: str | None = None
    locations: dict[Root, Name] = Field(default_factory=dict, max_length=LOCATIONS_MAX)
    egress_usd_gb: dict[str, dict[str, Usd]] = Field(default_factory=dict)
    wan_gbps: Ratio = 10.0
    get_usd: Usd = 0.0
    put_usd: Usd = 0.0

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        seen: set[str] = set()
        for pool in self.pools:
            if pool.name in seen:
                raise ValueError(f"two pools have the same name: {pool.name!r}")
            seen.add(pool.name)
        return self

    @property
    def is_priced(self) -> bool:
        """Whether every pool has a price: dollars are only shown then."""
        return not self.unpriced

    @property
    def unpriced(self) -> tuple[str, ...]:
        """The pools without a price."""
        return tuple(pool.name for pool in self.pools if pool.usd_h is None)

    @property
    def source(self) -> str:
        """Where the data lies."""
        return self.pools[0].location if self.data_location is None else self.data_location

    def location_of(self, url: str) -> str:
        """Return where the data under a URL lies."""
        found = [root for root in self.locations if url == root or url.startswith(f"{root}/")]
        return self.locations[max(found, key=len)] if found else self.source

    def network(self) -> Network:
        """Return what moving data costs, as placement knows it."""
        return Network(
            egress_usd_gb={
                (source, to): usd
                for source, row in self.egress_usd_gb.items()
                for to, usd in row.items()
            },
            wan_gbps=self.wan_gbps,
            get_usd=self.get_usd,
            put_usd=self.put_usd,
        )


def no_price(pools: PoolsSpec | None) -> str:
    """Return that a budget needs prices which are not known, and where they can be said."""
    without = "" if pools is None else f", and none is known of {', '.join(pools.unpriced)}"
    return (
        f"a budget needs the price of every pool{without}: `usd_h` in a file of pools, the label "
        "`price-per-hour` in a cluster.yaml (both by --pools FILE), or a price book (--prices FILE)"
    )


def pool_of(spec: PoolSpec, speed: Mapping[str, float], *, speed_cv: float, usd_h: float) -> Pool:
    """Return a pool as placement knows it, with its speed for each kind of work."""
    spot = spec.spot
    return Pool(
        name=spec.name,
        vcpu=spec.vcpu,
        mem_gb=spec.memory / GB,
        gpus=spec.gpus,
        speed=speed,
        usd_h=usd_h,
        loc=spec.location,
        net_gbps=spec.net_gbps,
        provision_s=spec.provision_s,
        boot_s=spec.boot_s,
        min_bill_s=spec.min_bill_s,
        bill_s=spec.bill_s,
        nodes_max=spec.max_nodes,
        spot=None
        if spot is None
        else Spot(reclaims_per_h=spot.reclaims_per_h, outage_s=spot.outage_s),
        speed_cv=speed_cv,
        labels=spec.labels or {},
    )


def local_pools(slots: int, memory_bytes: int) -> PoolsSpec:
    """Return this machine as the only pool: it is there already, and what it costs is not known."""
    here = PoolSpec(
        name=LOCAL,
        vcpu=float(slots),
        memory=memory_bytes,
        max_nodes=1,
        provision_s=0.0,
        boot_s=0.0,
        min_bill_s=0.0,
        net_gbps=LOCAL_GBPS,
        labels=None,
    )
    return PoolsSpec(pools=[here])


def pools_there(
    there: Mapping[str, int],
    machines: Mapping[str, Collection[Size]] | None = None,
    cores_least: float = 1.0,
) -> PoolsSpec:
    """Return the pools of an executor that no file describes: one machine each, no prices.

    `there` has how many one-core slots each pool has now, `machines` their sizes, where those are
    known: then the one machine has the GPUs of all.
    """
    here = local_pools(1, UNKNOWN_BYTES).pools[0]
    made = []
    for name, slots in there.items():
        changes: dict[str, object] = {"name": name, "vcpu": max(float(slots), cores_least)}
        if some := (machines or {}).get(name):
            changes["gpus"] = sum(size.gpus for size in some)
        made.append(here.model_copy(update=changes))
    return PoolsSpec(pools=made)


def grows(pool: PoolSpec, *, with_gpus: bool = False) -> bool:
    """Say whether machines of a pool may be asked for: with GPUs, by who needs some."""
    return with_gpus or not pool.gpus


def usable_pools(
    pools: PoolsSpec,
    there: Mapping[str, int],
    file: str,
    *,
    autoscale: bool = False,
    with_gpus: bool = False,
) -> tuple[PoolsSpec, tuple[str, ...]]:
    """Return those pools of a file that an executor has, and the names of the others.

    Their machines run already: they take no start-up, no more can be had than there are, and
    a run is charged what it uses of them, as the ledger does, and no least time. With `autoscale`,
    a pool is as the file says, whether there are machines of it or not.
    Raises: PoolsError, naming both lists, when no pool of the file can be used.
    """
    own = []
    for pool in pools.pools:
        if autoscale and grows(pool, with_gpus=with_gpus):
            own.append(pool)
        elif there.get(pool.name):
            own.append(_as_there(pool, there[pool.name]))
    if not own and autoscale:
        problem = "no pool can be asked for: all have GPUs, and no transform asks for one"
        raise PoolsError(problem, file, "", "")
    if not own:
        raise _none_there(pools, there, file)
    # Without it, data lies where the first pool is; that one may not be among those that are left.
    kept = pools.model_copy(update={"pools": own, "data_location": pools.source})
    used = {pool.name for pool in own}
    return kept, tuple(pool.name for pool in pools.pools if pool.name not in used)


def _none_there(pools: PoolsSpec, there: Mapping[str, int], file: str) -> PoolsError:
    named = ", ".join(sorted(pool.name for pool in pools.pools))
    found = ", ".join(sorted(there)) or "no nodes with cores"
    problem = f"none of the pools is in the cluster: the file has {named}; there are {found}"
    fix = "--autoscale asks the cluster's autoscaler for machines of the file"
    if LOCAL in there:
        fix = f"{LOCAL} are the nodes without the label `{POOL_LABEL}`: {NAME_IT}\n  {fix}"
    return PoolsError(problem, file, "", "", fix)


def nodes_of(slots: int, vcpu: float) -> int:
    """Return how many machines have so many one-core slots."""
    return int(slots / vcpu + PART_MIN)


def _as_there(pool: PoolSpec, slots: int) -> PoolSpec:
    nodes = nodes_of(slots, pool.vcpu)
    changes: dict[str, object] = {
        "provision_s": 0.0,
        "boot_s": 0.0,
        "min_bill_s": 0.0,
        "bill_s": 1.0,
    }
    if nodes:
        changes["max_nodes"] = min(pool.max_nodes, nodes)
    else:
        # A part of one machine: it has a part of its price.
        part = slots / pool.vcpu
        usd_h = None if pool.usd_h is None else pool.usd_h * part
        changes |= {"vcpu": float(slots), "max_nodes": 1, "usd_h": usd_h}
    return pool.model_copy(update=changes)

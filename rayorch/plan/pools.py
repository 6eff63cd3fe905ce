"""The machines that a plan may use: a file of pools, checked, or this machine as the only one.

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

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from placement import Network, Pool, Spot
from rayorch.errors import PoolsError, near_miss
from rayorch.spec.fields import Bytes, Name, shown

GB: Final = 1e9
POOLS_MAX: Final = 1_000
NODES_MAX: Final = 1_000_000
LOCAL: Final = "local"
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


class _Given(BaseModel):
    # Not strict: to YAML 1.1, 4e-7 is text.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SpotSpec(_Given):
    """How a spot pool comes and goes, always as a whole."""

    reclaims_per_h: Annotated[Number, Field(ge=0.0, le=3600.0)]
    outage_s: Duration = 1200.0


class PoolSpec(_Given):
    """Machines that are alike.

    Units: `provision_s` from request to running, unbilled; `boot_s` from running to working,
    billed; `bill_s` and `min_bill_s` seconds that are billed at once and at least; `speed` of one
    vCPU, where 1 is the machine that estimates are stated for. Transforms that ask for `labels`
    only go to pools that have them; None is a machine that takes whatever comes.
    """

    name: Name
    vcpu: Ratio
    memory: Annotated[Bytes, Field(le=UNKNOWN_BYTES)]
    gpus: Annotated[Number, Field(ge=0.0, le=1e4)] = 0.0
    usd_h: Usd | None = None
    speed: Annotated[Number, Field(ge=RATIO_MIN, le=1e3)] = 1.0
    bill_s: Annotated[Number, Field(ge=RATIO_MIN, le=YEAR_S)] = 1.0
    min_bill_s: Duration = 60.0
    provision_s: Duration = 25.0
    boot_s: Duration = 75.0
    spot: SpotSpec | None = None
    max_nodes: Annotated[int, BeforeValidator(_number), Field(ge=1, le=NODES_MAX)] = 48
    location: str = ""
    net_gbps: Ratio = 10.0
    labels: dict[str, str] | None = Field(default_factory=dict)


class PoolsSpec(_Given):
    """All pools, and what it costs to move and to ask for data.

    `data_location` is where sources lie; without it, where the first pool is.
    """

    pools: Annotated[list[PoolSpec], Field(min_length=1, max_length=POOLS_MAX)]
    data_location: str | None = None
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
        return all(pool.usd_h is not None for pool in self.pools)

    @property
    def source(self) -> str:
        """Where the data lies."""
        return self.pools[0].location if self.data_location is None else self.data_location

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


def pools_there(there: Mapping[str, int], cores_least: float = 1.0) -> PoolsSpec:
    """Return the pools of an executor that no file describes: one machine each, no prices.

    `there` has how many one-core slots each pool has now.
    """
    return PoolsSpec(
        pools=[
            local_pools(1, UNKNOWN_BYTES)
            .pools[0]
            .model_copy(update={"name": name, "vcpu": max(float(slots), cores_least)})
            for name, slots in there.items()
        ]
    )


def usable_pools(
    pools: PoolsSpec, there: Mapping[str, int], file: str
) -> tuple[PoolsSpec, tuple[str, ...]]:
    """Return those pools of a file that an executor has, and the names of the others.

    Their machines run already: they take no start-up, no more can be had than there are, and
    a run is charged what it uses of them, as the ledger does, and no least time.
    Raises: PoolsError, naming both lists, when no pool of the file is there.
    """
    own = [_as_there(pool, there[pool.name]) for pool in pools.pools if there.get(pool.name)]
    if not own:
        named, found = (
            ", ".join(sorted(names)) for names in ({p.name for p in pools.pools}, there)
        )
        problem = f"none of the pools is in the cluster: the file has {named}; there are {found}"
        raise PoolsError(problem, file, "", "")
    # Without it, data lies where the first pool is; that one may not be among those that are left.
    kept = pools.model_copy(update={"pools": own, "data_location": pools.source})
    return kept, tuple(pool.name for pool in pools.pools if not there.get(pool.name))


def _as_there(pool: PoolSpec, slots: int) -> PoolSpec:
    nodes = int(slots // pool.vcpu)
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


def read_pools(file: str) -> PoolsSpec:
    """Return the pools of a file. Raises: PoolsError."""
    try:
        text = Path(file).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise PoolsError(f"the file cannot be read: {reason.lower()}", file, "", "") from None
    return parse_pools(text, file)


def parse_pools(text: str, file: str) -> PoolsSpec:
    """Return the pools that a YAML or JSON text describes.

    Raises: PoolsError, naming the file, the pool, the field and the value.
    """
    try:
        given = yaml.load(text, _Loader)  # noqa: S506 - it is a safe loader.
    except yaml.YAMLError as error:
        raise PoolsError("not YAML or JSON", file, "", _first_line(error)) from None
    # Of a date or a number that is none, and of what is nested too deeply.
    except (ValueError, RecursionError) as error:
        raise PoolsError("not YAML or JSON", file, "", str(error)) from None
    if isinstance(given, list):
        given = {"pools": given}
    if not isinstance(given, dict):
        raise PoolsError("a mapping with `pools` is needed", file, "", shown(given))
    try:
        return PoolsSpec.model_validate(given)
    except ValidationError as error:
        raise _refusal(error, given, file) from None


class _Loader(yaml.SafeLoader):  # type: ignore[misc] # PyYAML has no types.
    """Refuses a key that is there twice: one of its values would be dropped without a word."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401 - as in PyYAML.
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                problem = f"{shown(key.value)} is there twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(str(key.value))
        return node


def _first_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    at = f"line {mark.line + 1}: " if mark is not None else ""
    return f"{at}{getattr(error, 'problem', None) or str(error).partition(chr(10))[0]}"


_PROBLEMS: Final = {
    "model_type": "a mapping is needed",
    "too_short": "at least one pool is needed",
}


def _refusal(error: ValidationError, given: dict[str, Any], file: str) -> PoolsError:
    """Return the most telling refusal: a misspelt field before the one that is missing for it."""
    details = sorted(
        error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden"
    )
    first = details[0]
    where = _where(first["loc"], given)
    field = str(first["loc"][-1]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        hint = near_miss(field, _known(first["loc"]))
        return PoolsError(f"unknown field{'; ' + hint if hint else ''}", file, where, "")
    if first["type"] == "missing":
        return PoolsError("required field is missing", file, where, "")
    kind, value = first["type"], first["input"]
    problem = _PROBLEMS.get(kind, str(first["msg"]).removeprefix("Value error, "))
    if isinstance(value, float) and not math.isfinite(value):
        problem = "must be a finite number"
    told = "" if isinstance(value, dict | list) else shown(value)
    return PoolsError(problem[:1].lower() + problem[1:], file, where, told)


def _where(loc: tuple[int | str, ...], given: dict[str, Any]) -> str:
    """Return a field's place with the pool's name in it, where it has one."""
    parts: list[str] = []
    for at, part in enumerate(loc):
        if at == 1 and loc[0] == "pools" and isinstance(part, int):
            pool = given["pools"][part]
            name = pool.get("name") if isinstance(pool, dict) else None
            parts[-1] = f"pools[{name if isinstance(name, str) else part}]"
        else:
            parts.append(str(part))
    return ".".join(parts)


def _known(loc: tuple[int | str, ...]) -> set[str]:
    if "spot" in loc[:-1]:
        return set(SpotSpec.model_fields)
    return set(PoolSpec.model_fields if loc[0] == "pools" else PoolsSpec.model_fields)

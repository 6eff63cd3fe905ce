"""A price book: what is known of machines beside what their labels say. A person edits it.

source: AWS list prices of 2026-07-20        # where these figures are from; shown with them
prices:
  - {type: m7i.4xlarge, region: us-east-1, market: on-demand, usd_h: 0.8064}
  - {type: m7i.4xlarge, vcpu: 16, memory: 64 GiB, speed: 1.0}
  - {pool: ours, usd_h: 0.41, source: contract 4711}
egress_usd_gb: {us-east-1: {us-west-2: 0.02}}

An entry speaks for all machines that are what it names: `type`, `region`, `market`, `pool`. Where
several say the same fact, one that names a pool goes before one that does not, and then the one
that names more. What no entry says is not known.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Self

from pydantic import Field, ValidationError, model_validator

from rayorch.errors import PoolsError, near_miss
from rayorch.plan.labels import Market
from rayorch.plan.pools import (
    Billing,
    Duration,
    Given,
    Gpus,
    Memory,
    PerHour,
    Ratio,
    Speed,
    Usd,
)
from rayorch.plan.yaml_files import loaded, refusal, text_of
from rayorch.spec.fields import Name, shown

ENTRIES_MAX: Final = 10_000
KEYS: Final = ("type", "region", "market", "pool")
"""What an entry may name, and so be about."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that is known of a machine, and where from."""

    value: float | str
    source: str


class PriceSpec(Given):
    """What is known of machines of a type, in a region, of a market, or of a pool."""

    type: str | None = None
    region: str | None = None
    market: Market | None = None
    pool: Name | None = None
    usd_h: Usd | None = None
    vcpu: Ratio | None = None
    memory: Memory | None = None
    gpus: Gpus | None = None
    speed: Speed | None = None
    bill_s: Billing | None = None
    min_bill_s: Duration | None = None
    provision_s: Duration | None = None
    boot_s: Duration | None = None
    reclaims_per_h: PerHour | None = None
    outage_s: Duration | None = None
    net_gbps: Ratio | None = None
    source: str = ""

    @model_validator(mode="after")
    def _names_its_machines(self) -> Self:
        if self.named == ():
            raise ValueError(f"an entry must name its machines by one of: {', '.join(KEYS)}")
        if self.usd_h is not None and self.pool is None and None in {self.type, self.market}:
            raise ValueError(
                "a price needs `type` and `market` (on-demand or spot), or `pool`: "
                "machines of one type cost less on spot"
            )
        return self

    @property
    def named(self) -> tuple[tuple[str, str], ...]:
        """What the entry names, as pairs of a key and its value."""
        return tuple((key, said) for key in KEYS if (said := getattr(self, key)) is not None)

    @property
    def weight(self) -> int:
        """How much the entry names; a pool is more than all else, being the user's own."""
        return len(self.named) + (len(KEYS) if self.pool is not None else 0)

    @property
    def facts(self) -> dict[str, float]:
        """What the entry says of its machines."""
        said = self.model_dump(exclude={*KEYS, "source"}, exclude_none=True)
        return {fact: float(value) for fact, value in said.items()}


class PriceBook(Given):
    """All entries, and what it costs to move and to ask for data."""

    prices: Annotated[list[PriceSpec], Field(max_length=ENTRIES_MAX)] = Field(default_factory=list)
    source: str = ""
    egress_usd_gb: dict[str, dict[str, Usd]] | None = None
    wan_gbps: Ratio | None = None
    get_usd: Usd | None = None
    put_usd: Usd | None = None

    @model_validator(mode="after")
    def _says_a_fact_once(self) -> Self:
        seen: dict[tuple[object, str], float] = {}
        for entry in self.prices:
            for fact, value in entry.facts.items():
                before = seen.setdefault((entry.named, fact), value)
                if before != value:
                    named = ", ".join(f"{key} {said}" for key, said in entry.named)
                    raise ValueError(f"{fact} of {named} is there twice: {before:g} and {value:g}")
        return self

    def network(self) -> dict[str, object]:
        """Return what the book says of moving data, as fields of PoolsSpec."""
        return self.model_dump(exclude={"prices", "source"}, exclude_none=True)

    def facts_of(self, machine: Mapping[str, str], file: str) -> dict[str, Fact]:
        """Return what is known of a machine that is of a `type`, `region`, `market` and `pool`.

        Raises: PoolsError, when two entries that name as much say different things.
        """
        found: dict[str, Fact] = {}
        found_by: dict[str, int] = {}
        for entry in self._about(machine):
            source = entry.source or self.source
            for fact, value in entry.facts.items():
                weight = entry.weight
                known = found.get(fact)
                if known is None or weight > found_by[fact]:
                    found[fact] = Fact(value, f"{file}: {source}" if source else file)
                    found_by[fact] = weight
                elif weight == found_by[fact] and known.value != value:
                    of = ", ".join(f"{key} {said}" for key, said in machine.items())
                    problem = f"two entries say different things of {of}: {fact} {known.value:g}"
                    raise PoolsError(f"{problem} and {value:g}; leave one out", file, fact, "")
        return found

    def check_pools(self, pools: tuple[str, ...], file: str) -> None:
        """Raises: PoolsError, when an entry names a pool that is not there."""
        for entry in self.prices:
            if entry.pool is not None and entry.pool not in pools:
                hint = near_miss(entry.pool, pools) or f"there are: {', '.join(pools)}"
                problem = f"an entry names a pool that is not there; {hint}"
                raise PoolsError(problem, file, "prices.pool", shown(entry.pool))

    def _about(self, machine: Mapping[str, str]) -> Iterator[PriceSpec]:
        for entry in self.prices:
            if all(machine.get(key) == said for key, said in entry.named):
                yield entry


NO_PRICES: Final = PriceBook()


def read_prices(file: str) -> PriceBook:
    """Return the price book of a file. Raises: PoolsError."""
    return parse_prices(text_of(file), file)


def parse_prices(text: str, file: str) -> PriceBook:
    """Return the price book that a YAML or JSON text holds.

    Raises: PoolsError, naming the file, the entry, the field and the value.
    """
    given = loaded(text, file)
    if isinstance(given, list):
        given = {"prices": given}
    if not isinstance(given, dict):
        raise PoolsError("a mapping with `prices` is needed", file, "", shown(given))
    try:
        return PriceBook.model_validate(given)
    except ValidationError as error:
        raise refusal(error, given, file, {"": PriceBook, "prices": PriceSpec}) from None

"""Pools from the machines that are of them: what is known of each, where from, and what is not.

A machine is a node of a live cluster or a node type of a cluster file; both have labels and
resources, and of both the same is made. What neither labels nor a price book say is not known: a
plan then reckons with what `PoolSpec` has for it, and `rayorch pools` says so.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pydantic import ValidationError

from rayorch.errors import PoolsError
from rayorch.plan.labels import (
    LABEL_OF,
    SPOT,
    LabelProblem,
    check_labels,
    facts_of_labels,
    own_labels,
    pool_of_labels,
)
from rayorch.plan.pools import NODES_MAX, UNKNOWN_BYTES, PoolSpec, SpotSpec
from rayorch.plan.prices import NO_PRICES, Fact, PriceBook
from rayorch.plan.yaml_files import refusal
from rayorch.spec.fields import shown

RECLAIMS_UNKNOWN: Final = 0.3
"""Times an hour that a spot pool is reckoned to go when nobody says: an assumption, the worst of
the bands that AWS publishes. To reckon with none would send to spot what cannot bear it."""
FACTS: Final = (
    "usd_h",
    "market",
    "location",
    "zone",
    "instance_type",
    "vcpu",
    "memory",
    "gpus",
    "speed",
    "bill_s",
    "min_bill_s",
    "provision_s",
    "boot_s",
    "reclaims_per_h",
    "outage_s",
    "net_gbps",
)
"""All that can be known of a pool, in the order in which it is told."""
_SPOT_ONLY: Final = frozenset({"reclaims_per_h", "outage_s"})
_SPEC_FACTS: Final = tuple(
    fact for fact in FACTS if fact in PoolSpec.model_fields and fact not in {"memory", "vcpu"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A node, or a node type, as it describes itself.

    `name` says which in an error (`node type spot`); `given` is what is known of it beside its
    labels, such as its cores, each with where from.
    """

    name: str
    labels: Mapping[str, str]
    given: Mapping[str, Fact] = field(default_factory=dict)
    nodes_min: int = 1
    nodes_max: int = 1

    @property
    def pool(self) -> str:
        """The pool that it belongs to."""
        return pool_of_labels(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A pool, what is known of it, and of what it is made.

    `facts` has what is known, each with where from; what is not in it is not known, and `spec`
    then has what a plan reckons with.
    """

    spec: PoolSpec
    facts: Mapping[str, Fact]
    machines: tuple[str, ...]
    nodes_min: int

    @property
    def unknown(self) -> tuple[str, ...]:
        """What is not known, of all that could be."""
        spot = self.spec.spot is not None
        return tuple(
            fact for fact in FACTS if fact not in self.facts and (spot or fact not in _SPOT_ONLY)
        )


def described_pools(
    machines: Iterable[Machine], book: PriceBook = NO_PRICES, *, file: str = "", prices: str = ""
) -> list[Described]:
    """Return the pools of some machines, in the order in which they are met.

    `file` and `prices` are what an error names. A machine without cores, such as a head that only
    carries the control actor, is in no pool: no runner fits on it.
    Raises: PoolsError, naming the machine, the label and the value, when a label cannot be, or
    machines of one pool differ in what makes them alike.
    """
    alike: dict[str, list[tuple[Machine, dict[str, Fact]]]] = {}
    for machine in machines:
        facts = _facts(machine, book, file, prices)
        if not _is_without_cores(facts):
            alike.setdefault(machine.pool, []).append((machine, facts))
    return [_described(pool, members, file) for pool, members in alike.items()]


def described_given(
    spec: PoolSpec, book: PriceBook = NO_PRICES, *, file: str = "", prices: str = ""
) -> Described:
    """Return a pool that a file describes in full, with what a price book adds.

    Raises: PoolsError, when both say a price, and not the same.
    """
    facts = {
        name: Fact(value, file)
        for name in spec.model_fields_set & set(FACTS)
        if (value := getattr(spec, name)) is not None
    }
    facts["market"] = Fact(SPOT if spec.spot is not None else "on-demand", file)
    if spec.spot is not None:
        facts |= {name: Fact(getattr(spec.spot, name), file) for name in spec.spot.model_fields_set}
    _add_booked(facts, spec.name, book, file, prices)
    changes: dict[str, object] = {name: facts[name].value for name in _SPEC_FACTS if name in facts}
    if spec.spot is not None:
        changes["spot"] = _spot(facts)
    return Described(
        spec=spec.model_copy(update=changes), facts=facts, machines=(spec.name,), nodes_min=0
    )


def _facts(machine: Machine, book: PriceBook, file: str, prices: str) -> dict[str, Fact]:
    """Return what is known of a machine: by labels, by itself, then by the book."""
    try:
        labels = check_labels(machine.labels)
        said = facts_of_labels(labels)
    except LabelProblem as wrong:
        raise refused_label(wrong, machine.name, file) from None
    facts = dict(machine.given)
    for name, value in said.items():
        known = facts.get(name)
        if known is not None and known.value != value:
            label = f"labels.{LABEL_OF.get(name, name)}"
            problem = f"{known.source} says {name} {known.value}, its label says {value}"
            raise PoolsError(problem, file, f"{machine.name}, {label}", "")
        facts[name] = Fact(value, f"label of {machine.name}")
    _add_booked(facts, machine.pool, book, file, prices, machine.name)
    return facts


def _add_booked(
    facts: dict[str, Fact], pool: str, book: PriceBook, file: str, prices: str, name: str = ""
) -> None:
    """Add what a price book knows; a price that is known already must be the same there."""
    keys = {"type": "instance_type", "region": "location", "market": "market"}
    machine = {key: str(facts[fact].value) for key, fact in keys.items() if fact in facts}
    booked = book.facts_of({**machine, "pool": pool}, prices)
    price, booked_price = facts.get("usd_h"), booked.get("usd_h")
    if price is not None and booked_price is not None and price.value != booked_price.value:
        raise PoolsError(
            f"{price.source} says {price.value} USD an hour, the price book {prices} says "
            f"{booked_price.value}; leave one of them out",
            file,
            name or f"pools[{pool}].usd_h",
            "",
        )
    for fact, known in booked.items():
        facts.setdefault(fact, known)


def _is_without_cores(facts: Mapping[str, Fact]) -> bool:
    cores = facts.get("vcpu")
    return cores is not None and float(cores.value) < 1.0


def _described(
    pool: str, members: Sequence[tuple[Machine, dict[str, Fact]]], file: str
) -> Described:
    facts = _agreed(pool, members, file)
    if "vcpu" not in facts:
        first = members[0][0].name
        problem = f"{first} does not say its cores: give it `resources: {{CPU: 8}}`"
        raise PoolsError(problem, file, f"{first}, resources.CPU", "")
    machines = [machine for machine, _ in members]
    nodes_max = sum(machine.nodes_max for machine in machines)
    given: dict[str, object] = {fact: facts[fact].value for fact in _SPEC_FACTS if fact in facts}
    given |= {
        "name": pool,
        "vcpu": facts["vcpu"].value,
        "memory": int(facts["memory"].value) if "memory" in facts else UNKNOWN_BYTES,
        "max_nodes": max(1, min(nodes_max, NODES_MAX)),
        "labels": _common(own_labels(machine.labels) for machine in machines),
    }
    market = facts.get("market")
    if market is not None and market.value == SPOT:
        given["spot"] = _spot(facts)
    try:
        spec = PoolSpec.model_validate(given)
    except ValidationError as error:
        refused = refusal(error, given, file, {"": PoolSpec})
        place = f"{machines[0].name}, {_label_named(refused.field)}"
        raise PoolsError(refused.problem, file, place, refused.value) from None
    return Described(
        spec=spec,
        facts=facts,
        machines=tuple(machine.name for machine in machines),
        nodes_min=sum(machine.nodes_min for machine in machines),
    )


def _agreed(
    pool: str, members: Sequence[tuple[Machine, dict[str, Fact]]], file: str
) -> dict[str, Fact]:
    """Return what all machines of a pool say alike. Raises: PoolsError, when they differ.

    They may stand in several zones, and of several may not all say it.
    """
    (first, agreed), *others = members
    agreed = dict(agreed)
    for machine, facts in others:
        for fact in sorted(agreed.keys() | facts.keys()):
            mine, other = agreed.get(fact), facts.get(fact)
            if mine is not None and other is not None and mine.value == other.value:
                continue
            if fact != "zone":
                raise PoolsError(
                    f"{first.name} and {machine.name} are both of pool {pool}, and differ in "
                    f"{fact}: {_value(mine)} and {_value(other)}; machines of a pool are alike: "
                    "give one of them another `pool` label",
                    file,
                    f"{machine.name}, {_label_named(fact)}",
                    "",
                )
            agreed.pop(fact, None)
    return agreed


def refused_label(wrong: LabelProblem, name: str, file: str) -> PoolsError:
    """Return the refusal of a label of a machine."""
    return PoolsError(wrong.problem, file, f"{name}, labels.{wrong.label}", shown(wrong.value))


def _value(fact: Fact | None) -> str:
    return "not said" if fact is None else str(fact.value)


def _label_named(fact: str) -> str:
    name = fact.partition(".")[2] or fact
    return f"labels.{LABEL_OF[name]}" if name in LABEL_OF else fact


def _common(labels: Iterable[Mapping[str, str]]) -> dict[str, str]:
    first, *others = labels
    return {
        key: value
        for key, value in first.items()
        if all(other.get(key) == value for other in others)
    }


def _spot(facts: Mapping[str, Fact]) -> SpotSpec:
    said = {fact: facts[fact].value for fact in _SPOT_ONLY if fact in facts}
    return SpotSpec.model_validate({"reclaims_per_h": RECLAIMS_UNKNOWN, **said})

"""What the labels of a node, or of a node type, say of its pool.

| label | says |
| --- | --- |
| `pool` | the pool that the node belongs to |
| `price-per-hour` | USD for an hour of the whole node |
| `ray.io/market-type` | `spot` or `on-demand` |
| `ray.io/availability-region`, `ray.io/availability-zone` | where it stands |
| `instance-type` | what the cloud calls it: the key to a price book |
| `speed` | of one of its cores, where 1 is the machine that estimates are stated for |
| `billing-seconds`, `billing-minimum-seconds` | billed at once; billed at least |
| `provision-seconds`, `boot-seconds` | from request to running, unbilled; to working, billed |
| `reclaims-per-hour`, `outage-seconds` | how often spot nodes go, all at once; for how long |

Those of `ray.io/` are Ray's own. Labels are text, by the syntax of Kubernetes: `"0.12"`, not 0.12.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, Final, Literal

POOL_LABEL: Final = "pool"
"""The label of a node that names its pool."""
LOCAL: Final = "local"
"""The pool of nodes without that label."""
NAME_IT: Final = "`ray start --labels pool=NAME`, or `labels: {pool: NAME}` of its node type"
"""How a node without that label gets one."""
HEAD_POOL: Final = "head"
"""The pool of the node that carries the control actor, by convention."""
MARKET_LABEL: Final = "ray.io/market-type"
REGION_LABEL: Final = "ray.io/availability-region"
ZONE_LABEL: Final = "ray.io/availability-zone"
TYPE_LABEL: Final = "instance-type"

Market = Literal["on-demand", "spot"]
SPOT: Final = "spot"
MARKETS: Final = ("on-demand", SPOT)

NUMBERS: Final[Mapping[str, str]] = {
    "price-per-hour": "usd_h",
    "speed": "speed",
    "billing-seconds": "bill_s",
    "billing-minimum-seconds": "min_bill_s",
    "provision-seconds": "provision_s",
    "boot-seconds": "boot_s",
    "reclaims-per-hour": "reclaims_per_h",
    "outage-seconds": "outage_s",
}
"""Labels that hold a number, and the fact that each one says."""
LABEL_OF: Final[Mapping[str, str]] = {fact: label for label, fact in NUMBERS.items()}

CHARS_MAX: Final = 63
PREFIX_CHARS_MAX: Final = 253
# Source: kubernetes.io, "Labels and Selectors", which Ray's schedulers and KubeRay go by.
_WORD: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_DNS: Final = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_PREFIX: Final = re.compile(rf"{_DNS}(?:\.{_DNS})*")


class LabelProblem(ValueError):  # noqa: N818 - it becomes an error where the place is known.
    """What is wrong with a label: the problem, the label's name and its value."""

    def __init__(self, problem: str, label: str, value: object) -> None:
        super().__init__(problem, label, value)
        self.problem = problem
        self.label = label
        self.value = value


def pool_of_labels(labels: Mapping[str, str]) -> str:
    """Return the pool of a node with these labels."""
    return labels.get(POOL_LABEL, LOCAL)


def check_labels(labels: Mapping[Any, object]) -> dict[str, str]:
    """Return labels that Kubernetes, and so Ray, will take. Raises: LabelProblem."""
    return {_key(key, value): _value(key, value) for key, value in labels.items()}


def facts_of_labels(labels: Mapping[str, str]) -> dict[str, float | str]:
    """Return what labels say: numbers, `market`, `location`, `zone`, `instance_type`.

    Raises: LabelProblem, of a number that is none, or a market that is not known.
    """
    facts: dict[str, float | str] = {
        fact: _number(label, labels[label]) for label, fact in NUMBERS.items() if label in labels
    }
    for label, fact in (
        (MARKET_LABEL, "market"),
        (REGION_LABEL, "location"),
        (ZONE_LABEL, "zone"),
        (TYPE_LABEL, "instance_type"),
    ):
        # An empty label is legal to Kubernetes, and says nothing.
        if labels.get(label):
            facts[fact] = labels[label]
    market = facts.get("market")
    if market is not None and market not in MARKETS:
        raise LabelProblem(f"must be one of: {', '.join(MARKETS)}", MARKET_LABEL, market)
    return facts


def own_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels that a transform may ask for: all but those that say other facts.

    A label of a price would make of each price another kind of machine.
    """
    said = {POOL_LABEL, *NUMBERS}
    return {key: value for key, value in labels.items() if key not in said}


def _number(label: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number < 0.0:
        raise LabelProblem('must be a number in quotes, like "0.12"', label, text)
    return number


def _key(key: object, value: object) -> str:
    if not isinstance(key, str):
        raise LabelProblem("a label's name must be text: put it in quotes", str(key), value)
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > PREFIX_CHARS_MAX or not _PREFIX.fullmatch(prefix)):
        problem = "what stands before the / of a label's name must be a DNS name, like ray.io"
        raise LabelProblem(problem, key, value)
    if len(name) > CHARS_MAX or not _WORD.fullmatch(name):
        raise LabelProblem(f"a label's name {_SYNTAX}", key, value)
    return key


def _value(key: object, value: object) -> str:
    if not isinstance(value, str):
        quoted = f'"{str(value).lower() if isinstance(value, bool) else value}"'
        problem = f"a label is text: put it in quotes, {key}: {quoted}"
        if isinstance(value, dict | list) or value is None:
            problem = f"a label is text, like {key}: spot"
        raise LabelProblem(problem, str(key), value)
    if value and (len(value) > CHARS_MAX or not _WORD.fullmatch(value)):
        raise LabelProblem(f"a label's value {_SYNTAX}", str(key), value)
    return value


_SYNTAX: Final = (
    f"has at most {CHARS_MAX} letters, digits, '-', '_' and '.', and begins and ends with a letter "
    "or a digit"
)

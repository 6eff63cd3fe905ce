"""Who does a job: rayorch, and the peers by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Required, TypedDict

Rays = Literal["own", "peers", "tuned", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Who does a job, and how."""

    label: str
    module: str
    kind: str
    ray: Rays = "none"
    file_format: str = "parquet"
    library: str = ""
    """Without it the side is left out."""


def own(kind: str, *, label: str = "rayorch", file_format: str = "parquet") -> Side:
    """Return rayorch as a side."""
    return Side(label=label, module="own", kind=kind, ray="own", file_format=file_format)


def peer_sides(kind: str, names: Sequence[str]) -> list[Side]:
    """Return the peers that are asked for."""
    return [Side(label=name, kind=kind, **KNOWN[name]) for name in names]


class Known(TypedDict, total=False):
    """How a peer is started."""

    module: Required[str]
    ray: Rays
    library: str


KNOWN: Final[dict[str, Known]] = {
    "ray-data": {"module": "ray_data", "ray": "peers"},
    "ray-data-tuned": {"module": "ray_data", "ray": "tuned"},
    "daft-ray": {"module": "daft_any", "ray": "peers", "library": "daft"},
    "daft": {"module": "daft_any", "library": "daft"},
    "dask": {"module": "dask_one", "library": "dask"},
    "pool": {"module": "pool"},
    "polars": {"module": "polars_one", "library": "polars"},
    "duckdb": {"module": "duckdb_one", "library": "duckdb"},
}
ONE_PROCESS: Final = ("polars", "duckdb")
"""What one machine can do without checkpoints: the limit, rather than a peer."""
PEERS: Final = tuple(KNOWN)
PEERS_USUAL: Final = tuple(name for name in KNOWN if name != "ray-data-tuned")

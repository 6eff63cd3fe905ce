"""`mem-table://name`: tables of this process, for tests and the in-process executor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from connectors.data_errors import NoFilesError
from connectors.formats.numbered import numbered_discovery
from connectors.schema import usual_schema

if TYPE_CHECKING:
    import pyarrow as pa

    from connectors.formats.numbered import Rows
    from connectors.splits import Discovery, SourceSpec, Split

SCHEME: Final = "mem-table://"
_TABLES: Final[dict[str, pa.Table]] = {}


def register_table(name: str, table: pa.Table) -> str:
    """Make a table readable in this process; return its URL. The name's earlier table goes."""
    _TABLES[name] = table.cast(usual_schema(table.schema))
    return f"{SCHEME}{name}"


def forget_table(name: str) -> None:
    """Let go of a table; a name that is not there is no error."""
    _TABLES.pop(name, None)


class TableSource:
    """Tables registered in this process. Option `splits`: into how many to cut, else one a slot."""

    def discover(self, spec: SourceSpec, slots: int) -> tuple[Discovery, list[Split]]:
        """Cut the table into splits. Raises: NoFilesError, with the tables that there are."""
        table = _table(spec.urls[0])
        splits = int(spec.options.get("splits", slots))
        return numbered_discovery("mem-table", table.schema, table.num_rows, table.nbytes, splits)

    def rows(self, spec: SourceSpec) -> Rows:
        """Return what slices the table."""
        table = _table(spec.urls[0])
        return lambda lo, hi: table.slice(lo, hi - lo)


def _table(url: str) -> pa.Table:
    found = _TABLES.get(url.removeprefix(SCHEME))
    if found is None:
        reason = "no table of this name is registered in this process"
        raise NoFilesError(url, reason, tuple(sorted(_TABLES)))
    return found

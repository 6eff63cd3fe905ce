"""Look at a Delta table: its log, the files that its newest version is made of, and the rest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import msgspec

from connectors.audit import Fault, Seen, look_at_files, newest_first, orphans
from connectors.data_errors import CorruptFileError, OptionError
from connectors.formats.delta import DATA
from connectors.formats.delta_log import DELTA_LOG, delta_content, open_table
from connectors.formats.files import store_options
from connectors.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from connectors.audit import Expected
    from connectors.outputs import SinkSpec
    from connectors.store import Store

_COMMIT: Final = re.compile(r"_delta_log/(\d{20})\.json\Z")
_CHECKPOINT: Final = re.compile(r"_delta_log/(\d{20})\.checkpoint\..*parquet\Z")


def audit(spec: SinkSpec, expected: Expected, *, deep: bool) -> Seen:
    """Look at the log, at the files of its newest version, and at those that no version names."""
    options = store_options(spec.options)
    store = open_store(spec.url, options)
    seen = Seen()
    log = _Log(store)
    if not log.commits and not log.checkpoints:
        for each in newest_first(expected.publications)[:1]:
            what = f"run {each.run} published a table here, and there is none: was it removed?"
            seen.faults.append(Fault(kind="doubtful", key=DELTA_LOG, what=what))
        return seen
    seen.faults += log.faults
    try:
        seen.faults += _untold(spec, options, expected)
        content = delta_content(spec.url, options, 0)
    except (CorruptFileError, OptionError) as error:
        seen.faults.append(Fault(kind="damaged", key=DELTA_LOG, what=str(error)))
        return seen
    look_at_files(store, content.files, expected.checksums, seen, deep=deep)
    # Older versions can be read, too: only a log that is there from its beginning names them all.
    if log.is_full and not log.faults:
        named = log.added | {file.key for file in content.files}
        seen.faults += orphans(store, DATA, expected.closed, named)
    return seen


def _untold(spec: SinkSpec, options: Mapping[str, str], expected: Expected) -> Iterator[Fault]:
    """Yield the newest publication, when the log does not know of it."""
    table = open_table(spec.url, options)
    for each in newest_first(expected.publications)[:1]:
        if table is None or table.version() >= int(each.version):
            continue
        told = table.transaction_version(each.app_id)
        if told is None or told < each.generation:
            what = (
                f"its log ends with version {table.version()}, and run {each.run} published "
                f"version {each.version}: its end is missing, or the table was made anew"
            )
            yield Fault(kind="damaged", key=DELTA_LOG, what=what)


class _Log:
    """The objects of a table's log."""

    def __init__(self, store: Store) -> None:
        self.faults: Final[list[Fault]] = []
        self.added: Final[set[str]] = set()
        keys = [info.key for info in store.list(DELTA_LOG)]
        self.commits: Final = sorted(int(m[1]) for key in keys if (m := _COMMIT.match(key)))
        self.checkpoints: Final = sorted(
            {int(m[1]) for key in keys if (m := _CHECKPOINT.match(key))}
        )
        self._look_for_gaps()
        for version in self.commits:
            self._read(store, _key(version))

    @property
    def is_full(self) -> bool:
        """Whether every version from the first is there."""
        return bool(self.commits) and self.commits[0] == 0

    def _look_for_gaps(self) -> None:
        there = set(self.commits)
        # Clean-up takes commits from the front, behind a checkpoint.
        first = self.commits[0] if self.commits else 0
        if self.commits and first > 0 and not any(c >= first - 1 for c in self.checkpoints):
            first = 0
        last = max([*self.commits, *self.checkpoints], default=-1)
        for version in range(first, last + 1):
            if version not in there and self.commits:
                what = f"version {version} is missing, and version {last} is there"
                self.faults.append(Fault(kind="damaged", key=_key(version), what=what))

    def _read(self, store: Store, key: str) -> None:
        try:
            for line in store.get(key).splitlines():
                action = msgspec.json.decode(line, type=dict[str, dict[str, object]])
                if "add" in action:
                    self.added.add(unquote(str(action["add"]["path"])))
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError) as error:
            self.faults.append(Fault(kind="damaged", key=key, what=f"it cannot be read ({error})"))


def _key(version: int) -> str:
    return f"{DELTA_LOG}{version:020d}.json"

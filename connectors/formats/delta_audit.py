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
# Also in parts, and with a name of its own, as JSON or Parquet.
_CHECKPOINT: Final = re.compile(r"_delta_log/(\d{20})\.checkpoint\.(?:.*\.)?(?:parquet|json)\Z")


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
        # A version that was written since the log was listed is not what the log said.
        if content.version == log.commits[-1]:
            seen.faults += log.unlike({file.key: file.size_bytes for file in content.files})
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
        self._live: Final[dict[str, object]] = {}
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

    def unlike(self, content: Mapping[str, int]) -> Iterator[Fault]:
        """Yield that readers, who begin with a checkpoint, see other files than the commits say.

        The commits are there from the first; the content is of files by key, with their sizes.
        """
        wrong = sorted(set(self._live.items()) ^ set(content.items()), key=str)
        if wrong:
            newest = f"{self.checkpoints[-1]:020d}.checkpoint" if self.checkpoints else ""
            what = (
                f"its checkpoint and its commits differ in {len({key for key, _ in wrong})} files, "
                f"{wrong[0][0]} among them: readers may see the one or the other"
            )
            yield Fault(kind="damaged", key=f"{DELTA_LOG}{newest}", what=what)

    def _look_for_gaps(self) -> None:
        there = set(self.commits)
        # Clean-up takes commits from the front, behind a checkpoint.
        first = self.commits[0] if self.commits else 0
        if self.commits and first > 0 and not any(c >= first - 1 for c in self.checkpoints):
            first = 0
        last = max([*self.commits, *self.checkpoints], default=-1)
        for version in range(first, last + 1):
            if version in there or not self.commits:
                continue
            cover = next((c for c in self.checkpoints if c >= version), None)
            what = f"version {version} is missing, and version {last} is there"
            if cover is None:
                self.faults.append(Fault(kind="damaged", key=_key(version), what=what))
            else:
                # A clean-up that was interrupted leaves such gaps, too.
                what += f"; readers of version {cover} and newer begin with its checkpoint"
                self.faults.append(Fault(kind="doubtful", key=_key(version), what=what))

    def _read(self, store: Store, key: str) -> None:
        # A commit that removes a file and adds it anew may say so in either order.
        added: dict[str, object] = {}
        try:
            for line in store.get(key).splitlines():
                action = msgspec.json.decode(line, type=dict[str, dict[str, object]])
                if "add" in action:
                    added[unquote(str(action["add"]["path"]))] = action["add"]["size"]
                if "remove" in action:
                    self._live.pop(unquote(str(action["remove"]["path"])), None)
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError) as error:
            self.faults.append(Fault(kind="damaged", key=key, what=f"it cannot be read ({error})"))
        self.added.update(added)
        self._live.update(added)


def _key(version: int) -> str:
    return f"{DELTA_LOG}{version:020d}.json"

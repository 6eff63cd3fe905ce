"""From the URLs of a source to the files that they name.

A URL is a file, a folder (with all below it), a glob, or a dataset that we published. Names
that begin with `_` or `.` are hidden, at any depth below what the URL says.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from connectors.data_errors import NoFilesError
from connectors.hive import path_values
from connectors.store import ObjectInfo, Store, open_store
from connectors.url import join_url, parse_url, split_glob, split_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NEAR_LISTED_MAX: Final = 1_000
NEAR_SHOWN_MAX: Final = 3
HEADS_AT_ONCE: Final = 16
# What other programs leave in a folder of data files, beside hidden names.
_NOT_DATA: Final = (".crc", ".tmp")


class FoundFile(msgspec.Struct, frozen=True):
    """A file of a source: where it is, and what it was when it was listed."""

    root: int
    key: str
    size_bytes: int
    version: str
    values: dict[str, str | None] = {}


class Listing(msgspec.Struct, frozen=True):
    """Files of a source, and the stores that hold them."""

    stores: tuple[Store, ...]
    files: tuple[FoundFile, ...]

    def url(self, file: FoundFile) -> str:
        """Return the whole URL of a file."""
        return join_url(self.stores[file.root].url, file.key)


class Stores:
    """The stores that a source's URLs have led to, numbered in the order met."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options = options
        self._opened: dict[str, tuple[int, Store]] = {}

    def opened(self, url: str) -> tuple[int, Store]:
        """Return the number and the store of a root URL."""
        if url not in self._opened:
            self._opened[url] = (len(self._opened), open_store(url, self._options))
        return self._opened[url]

    def all(self) -> tuple[Store, ...]:
        """Return the stores by number."""
        return tuple(store for _, store in self._opened.values())


def exact_files(urls: Sequence[str], stores: Stores) -> list[FoundFile | None]:
    """Return, for each URL, the file of exactly this name, or None.

    Thousands of names are looked up together: a request each, in turn, would take minutes on an
    object store.
    """
    places = []
    for url in urls:
        folder, name = split_url(url)
        places.append((*stores.opened(folder), name))

    def head(place: tuple[int, Store, str]) -> FoundFile | None:
        root, store, name = place
        info = store.head(name) if name else None
        return None if info is None else _found(root, info, {})

    if len(places) < HEADS_AT_ONCE or places[0][1].local_path("x") is not None:
        return [head(place) for place in places]
    with ThreadPoolExecutor(HEADS_AT_ONCE) as pool:
        return list(pool.map(head, places))


def _found(root: int, info: ObjectInfo, values: dict[str, str | None]) -> FoundFile:
    return FoundFile(root, info.key, info.size_bytes, info.version, values)


def files_below(url: str, stores: Stores) -> list[FoundFile]:
    """Return the files of a folder or of a glob. Raises: NoFilesError, with names near by."""
    folder, pattern = split_glob(url)
    if pattern:
        # A folder may be named like a pattern ("a[1]"); what is there wins.
        literal = _folder_files(parse_url(url).url, stores)
        if literal:
            return literal
        matches = glob_regex(pattern).fullmatch
        root, store = stores.opened(folder)
        hidden_ok = "/_" in f"/{pattern}" or "/." in f"/{pattern}"
        infos = (i for i in store.list(_fixed_prefix(pattern)) if matches(i.key))
        files = [
            _found(root, info, path_values(info.key))
            for info in infos
            if hidden_ok or not is_hidden(info.key)
        ]
    else:
        files = _folder_files(folder, stores)
    if not files:
        raise _no_files(url, folder, pattern, stores)
    return files


def _folder_files(folder: str, stores: Stores) -> list[FoundFile]:
    root, store = stores.opened(folder)
    return [
        _found(root, info, path_values(info.key))
        for info in store.list()
        if not is_hidden(info.key)
    ]


def _fixed_prefix(pattern: str) -> str:
    return re.split(r"[*?\[]", pattern, maxsplit=1)[0]


def is_hidden(key: str) -> bool:
    """Say whether any name in the key begins with `_` or `.`, or marks what is not data."""
    path = f"/{key}"
    # A partition column may begin with an underscore: `_day=1/` holds data.
    hidden = "/." in path or (
        "/_" in path and any(s.startswith("_") and "=" not in s for s in key.split("/"))
    )
    return hidden or key.endswith(_NOT_DATA)


def glob_regex(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of a glob: `*` and `?` stop at `/`, `**` does not."""
    out = []
    index = 0
    while index < len(pattern):
        if pattern.startswith("**/", index):
            out.append("(?:.*/)?")
            index += 3
        elif pattern.startswith("**", index):
            out.append(".*")
            index += 2
        else:
            token, index = _glob_token(pattern, index)
            out.append(token)
    return re.compile("".join(out), re.DOTALL)


def _glob_token(pattern: str, index: int) -> tuple[str, int]:
    char = pattern[index]
    if char == "*":
        return "[^/]*", index + 1
    if char == "?":
        return "[^/]", index + 1
    close = pattern.find("]", index + 2)
    if char == "[" and close > 0:
        inside = pattern[index + 1 : close].replace("\\", "\\\\").replace("[", "\\[")
        if inside.startswith("!"):
            inside = "^" + inside[1:]
        return f"[{inside}]", close + 1
    return re.escape(char), index + 1


def _no_files(url: str, folder: str, pattern: str, stores: Stores) -> NoFilesError:
    """Say what is there instead: the names in the folder, or those beside it."""
    if not pattern:
        folder, name = split_url(url)
        wanted = name
    else:
        wanted = pattern
    _, store = stores.opened(folder)
    keys = [info.key for info in islice(store.list(), NEAR_LISTED_MAX)]
    if pattern:
        near = get_close_matches(wanted, keys, NEAR_SHOWN_MAX, 0.3) or keys[:NEAR_SHOWN_MAX]
    else:
        beside = list(dict.fromkeys(key.split("/")[0] for key in keys))
        near = get_close_matches(wanted, beside, NEAR_SHOWN_MAX, 0.6)
    reason = "" if keys else "nothing is stored there"
    return NoFilesError(url, reason, tuple(near))

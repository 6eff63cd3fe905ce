"""Where inputs, outputs and our home are: on this machine's disk, or in a store under a URL.

Inputs are made on the disk in any case: what must come of them is computed there. Where a store is
named, a copy of them is put into it once and stays; outputs and our home are there, too, in a
folder of the session that goes with it.
"""

import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import fsspec

from connectors.store import Store, open_store
from rayorch.bench.errors import SuiteError
from rayorch.ids import new_nonce

COPIED: Final = "_copied"
AT_ONCE: Final = 8


class Place(Protocol):
    """Where the sides of a session read and write."""

    root: str
    """Of the session: outputs and our home are below."""

    def source(self, folder: Path) -> str:
        """Return where the sides find an input that was made in a folder."""
        ...

    def local(self, output: str) -> AbstractContextManager[str]:
        """Return the folder with an output as it was written, to be looked at."""
        ...

    def remove(self, output: str) -> None:
        """Delete an output, if there is any of it."""
        ...


@dataclass(frozen=True, slots=True)
class OnDisk:
    """Folders of this machine."""

    root: str

    def source(self, folder: Path) -> str:
        """Return the folder itself."""
        return str(folder)

    @contextmanager
    def local(self, output: str) -> Iterator[str]:
        """Give the output itself."""
        yield output

    def remove(self, output: str) -> None:
        """Delete a folder."""
        shutil.rmtree(output, ignore_errors=True)


class InStore:
    """A store under a URL. Raises: StoreError, MissingExtraError, BadUrlError."""

    def __init__(self, url: str, cache: Path) -> None:
        self._url = url.rstrip("/")
        self._cache = cache
        self.root = f"{self._url}/session-{new_nonce()}"

    def source(self, folder: Path) -> str:
        """Return where the copy of a folder is, made now if it is not there yet.

        It counts only with its mark: one that was interrupted is made again.
        """
        url = f"{self._url}/{folder.relative_to(self._cache)}"
        store = open_store(url)
        if store.head(COPIED) is None:
            files = sorted(folder.glob("*.parquet"))
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(lambda file: store.put(file.name, file.read_bytes()), files))
            store.put(COPIED, b"")
        return url

    @contextmanager
    def local(self, output: str) -> Iterator[str]:
        """Give a copy of all that was written, on the disk of the inputs."""
        store = open_store(output)
        with tempfile.TemporaryDirectory(prefix="session-output-", dir=self._cache) as folder:
            for found in store.list():
                path = Path(folder, found.key)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(store.get(found.key))
            yield folder

    def remove(self, output: str) -> None:
        """Delete all that was written."""
        store = open_store(output)
        store.delete([found.key for found in store.list()])


def place_of(url: str, cache: Path, folder: Path) -> Place:
    """Return a store where one is named, tried before hours are spent; else a folder.

    Raises: SuiteError; StoreError, MissingExtraError, BadUrlError: nothing can be written there.
    """
    if not url:
        return OnDisk(str(folder))
    store: Store = open_store(url)
    if store.local_path("x") is not None:
        problem = f"--data names a store, and this is a folder. url={store.url}"
        raise SuiteError(problem, "name a folder for the inputs with XDG_CACHE_HOME")
    store.put(probe := f"probe-{new_nonce()}", b"")
    store.delete([probe])
    return InStore(url, cache)


# --- what sides need of both --------------------------------------------------------------------


def parquet_files(source: str) -> list[str]:
    """Return the Parquet files of an input, as they are opened: paths, or URLs."""
    files, _ = fsspec.core.url_to_fs(source)
    found = sorted(files.glob(f"{source}/*.parquet"))
    return [str(each if is_local(source) else files.unstrip_protocol(each)) for each in found]


def is_local(url: str) -> bool:
    """Say whether something is on this machine's disk."""
    return "://" not in url


def make_folder(target: str) -> None:
    """Make a folder for an output; a store needs none."""
    if is_local(target):
        Path(target).mkdir(parents=True)

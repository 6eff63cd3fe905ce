"""Objects in S3, Google Cloud Storage and Azure, through obstore; S3 is read through pyarrow.

obstore writes, lists and creates: it is two to nine times faster than s3fs on a third of the
memory, and its `put(mode="create")` is one conditional request. pyarrow's own S3 client feeds
pyarrow's readers without Python between them.

What these servers really do, and what is done about it here:

* A reply that was lost makes a winner look like a loser, and a request that timed out may be
  applied later. `put_if_absent` therefore turns the client's own retries off and settles the
  outcome by reading back (`ExclusiveCreate`).
* S3 lists keys in the order of their bytes; servers that keep a tree (SeaweedFS) list `a/b`
  before `a-b`, and apply "start after" in that order. `list` asks for a little more and sorts.
* Keys that a profile names are asked for again and again (`AwsKeys`). What is refused although
  they have just been replaced is no refusal: whoever asked tries again.
* A client that was used before a fork hangs for ever in the child, even a new one: refused.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import obstore
import pyarrow as pa
from obstore.store import AzureStore, GCSStore, S3Store

from connectors.errors import (
    BadKeyError,
    BadUrlError,
    ObjectMissingError,
    StoreDeniedError,
    StoreForkedError,
    StoreUnavailableError,
)
from connectors.store import Created, ObjectInfo, OutputStream
from connectors.stores.aws_keys import (
    PROFILE,
    AwsKeys,
    asked_of_aws,
    keys_for,
    server_of,
)
from connectors.stores.listing import in_key_order, safe_offset
from connectors.stores.object_errors import translated
from connectors.stores.object_files import ObjectOutput, open_by_client, open_s3_files
from connectors.stores.patience import ExclusiveCreate, Patience
from connectors.stores.promised import promised
from connectors.stores.s3_uploads import abort_uploads, open_client
from connectors.stores.servers import GS_SCHEMES, S3_SCHEMES, is_unencrypted, with_endpoint
from connectors.url import Location, check_key

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta

_CONNECT_TIMEOUT_S: Final = 5.0
# With the pauses between them, six to fifteen seconds: they outlast a throttled moment and the
# restart of a server, and a wrong address is still told of before somebody wonders.
_RETRIES: Final = 10
_LIST_PAGE_OBJECTS: Final = 1000
# The most that S3 removes in one request.
_DELETE_PAGE_OBJECTS: Final = 1000
# Larger objects are read and written in pieces, so that each request fits into its time-out.
_PIECE_BYTES: Final = 8 * 1024 * 1024
# Bounds the memory of one writer: this many pieces, and the one that is being filled.
_PIECES_AT_ONCE: Final = 4
_OUR_OPTIONS: Final = frozenset({"timeout_s", "deadline_s", "durable", PROFILE})
# The process whose threads serve the clients; empty until the first request.
_RUNTIME_PIDS: Final[set[int]] = set()

Client = S3Store | GCSStore | AzureStore


def open_location(location: Location, options: Mapping[str, str]) -> "ObjectStore":
    """Open the part of a bucket that a URL names.

    Credentials and endpoint come from the environment, where every AWS, Google or Azure tool
    looks for them, unless an option of the same name, in lower case, says otherwise.

    Raises: BadUrlError, naming an unknown option.
    """
    return ObjectStore(location, options)


class ObjectStore:
    """Objects under a prefix of a bucket."""

    __slots__ = (
        "_config",
        "_files",
        "_keys",
        "_location",
        "_once",
        "_options",
        "_patience",
        "_plain",
        "promises",
        "url",
    )

    def __init__(self, location: Location, options: Mapping[str, str]) -> None:
        self.url: Final = location.url
        self.promises: Final = promised(location.scheme)
        self._location = location
        self._options = dict(options)
        self._patience = Patience.from_options(location.url, options)
        self._keys = keys_for(options) if location.scheme in S3_SCHEMES else None
        self._config = _config(location, options, self._keys)
        self._plain = self._client(_RETRIES)
        # For exclusive create: its answer must be the server's first, not that to a repetition.
        self._once = self._client(0)
        self._files: pa.fs.FileSystem | None = None

    def __reduce__(self) -> tuple[type["ObjectStore"], tuple[Location, dict[str, str]]]:
        return ObjectStore, (self._location, self._options)

    def get(self, key: str) -> bytes:
        """Return an object's bytes."""
        self._check(key)
        with self._answered(key):
            answer = obstore.get(self._plain, key)
            if answer.meta["size"] <= _PIECE_BYTES:
                return answer.bytes().to_bytes()
            return self._pieces(key, 0, answer.meta["size"], answer.meta["e_tag"])

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`."""
        assert start >= 0, start
        assert length >= 0, length
        info = self.head(key)
        if info is None:
            raise ObjectMissingError(self.url, key, "no object has this key")
        # A range past the end is an error for the server, and one of no bytes for the client.
        stop = min(start + length, info.size_bytes)
        with self._answered(key):
            return self._pieces(key, start, stop, None) if start < stop else b""

    def put(self, key: str, data: bytes) -> ObjectInfo:
        """Write an object whole, over whatever had the key.

        `modified_s` is this machine's clock: the server does not tell its own.
        """
        self._check(key)
        with self._answered(key):
            answer = obstore.put(
                self._plain,
                key,
                data,
                chunk_size=_PIECE_BYTES,
                max_concurrency=_PIECES_AT_ONCE,
            )
        # Connectors sit below the clock that the rest of the project shares.
        return ObjectInfo(key, len(data), time.time(), _version(answer["e_tag"]))  # noqa: TID251

    def put_if_absent(self, key: str, data: bytes) -> Created:
        """Write an object unless its key is taken, atomically and durably."""
        self._check(key)

        def create() -> bool:
            with self._answered(key):
                try:
                    # One request, whatever its size: conditions on multipart uploads are
                    # ignored or racy on half of the servers.
                    obstore.put(self._once, key, data, mode="create", use_multipart=False)
                except obstore.exceptions.AlreadyExistsError:
                    return False
            return True

        def read() -> bytes | None:
            try:
                return self.get(key)
            except ObjectMissingError:
                return None

        return ExclusiveCreate(self.url, key, data, create, read).settle(self._patience)

    def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None."""
        self._check(key)
        try:
            with self._answered(key):
                return _info(obstore.head(self._plain, key))
        except ObjectMissingError:
            return None

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key begins with `prefix` and is greater than `after`."""
        folder = prefix[: prefix.rfind("/") + 1]
        if folder:
            self._check(folder[:-1])
        self._check_process("")
        found = self._list_as_served(folder, prefix, after)
        wanted = (info for info in found if info.key.startswith(prefix) and info.key > after)
        return in_key_order(wanted, folder)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; a missing one is no error."""
        rest = iter(keys)
        while page := list(islice(rest, _DELETE_PAGE_OBJECTS)):
            for key in page:
                self._check(key)
            try:
                with self._answered(page[0]):
                    obstore.delete(self._plain, page)
            except ObjectMissingError:
                # Google and Azure stop at a missing one; S3 does not mind.
                self._delete_singly(page)

    def open_input(self, key: str) -> pa.NativeFile:
        """Open an object for random access."""
        self._check(key)
        location = self._location
        with self._answered(key):
            # pyarrow's client would hold on to the keys that it was opened with.
            if location.scheme not in S3_SCHEMES or self._keys is not None:
                return open_by_client(self._plain, key)
            if self._files is None:
                self._files = open_s3_files(self._config, self._patience, _CONNECT_TIMEOUT_S)
            path = "/".join(part for part in (location.bucket, location.path, key) if part)
            return self._files.open_input_file(path)

    def open_output(self, key: str) -> OutputStream:
        """Open a streaming writer; the object appears whole when it is closed."""
        self._check(key)
        with self._answered(key):
            writer = obstore.open_writer(
                self._plain, key, buffer_size=_PIECE_BYTES, max_concurrency=_PIECES_AT_ONCE
            )
        return ObjectOutput(writer, self._answered, key)

    def local_path(self, key: str) -> str | None:
        """Return None: there is no file."""
        self._check(key)
        return None

    def sweep_unfinished(self, prefix: str, before_s: float) -> int:
        """End uploads to S3 that began before a time, as far as the keys allow; return how many.

        Google and Azure: 0. Google's rules end them, and Azure forgets the parts after a week.
        """
        if self._location.scheme not in S3_SCHEMES:
            return 0
        try:
            return self._uploads_ended(prefix, before_s)
        except StoreUnavailableError:
            # The client repeats what may be, but not what was signed with keys that are no more.
            return self._uploads_ended(prefix, before_s)

    def _uploads_ended(self, prefix: str, before_s: float) -> int:
        location = self._location
        root = f"{location.path}/" if location.path else ""
        with self._answered(prefix):
            with asked_of_aws(self.url):
                client = open_client(self._config, self._keys, self._patience)
            return abort_uploads(client, self.url, location.bucket, root + prefix, before_s)

    @contextmanager
    def _answered(self, key: str) -> Iterator[None]:
        """Turn the client's errors inside the block into ours."""
        try:
            with translated(self.url, key):
                yield
        except StoreDeniedError as error:
            with asked_of_aws(self.url):
                if self._keys is None or not self._keys.were_replaced():
                    raise
            reason = f"the keys were replaced while they were used; {error.reason}"
            raise StoreUnavailableError(self.url, key, reason) from error

    def _check(self, key: str) -> None:
        check_key(self.url, key)
        if "\\" in key:
            # Some servers take it for a slash, and the object is then listed under another key.
            raise BadKeyError(self.url, key, "a key in an object store holds no backslash")
        self._check_process(key)

    def _check_process(self, key: str) -> None:
        """Refuse to hang in the child of a fork."""
        pid = os.getpid()
        if pid not in _RUNTIME_PIDS:
            if _RUNTIME_PIDS:
                raise StoreForkedError(self.url, key, "its client was used before os.fork()")
            _RUNTIME_PIDS.add(pid)

    def _client(self, retries: int) -> Client:
        location = self._location
        settings: dict[str, Any] = {
            "prefix": location.path or None,
            "config": self._config,
            "client_options": {
                "timeout": timedelta(seconds=self._patience.timeout_s),
                "connect_timeout": timedelta(seconds=_CONNECT_TIMEOUT_S),
                "allow_http": is_unencrypted(location.scheme, self._config),
            },
            "retry_config": {
                "max_retries": retries,
                "retry_timeout": timedelta(seconds=self._patience.deadline_s),
            },
        }
        try:
            if location.scheme in S3_SCHEMES:
                return S3Store(location.bucket, credential_provider=self._keys, **settings)
            if location.scheme in GS_SCHEMES:
                return GCSStore(location.bucket, **settings)
            return AzureStore(location.bucket, **settings)
        except obstore.exceptions.BaseError as error:
            reason = str(error).partition("\n")[0]
            raise BadUrlError(self.url, f"the client refuses its settings: {reason}") from error

    def _pieces(self, key: str, start: int, stop: int, e_tag: str | None) -> bytes:
        """Read a range piece by piece, all of them from one version of the object."""
        pieces = []
        for begin in range(start, stop, _PIECE_BYTES):
            options: GetOptions = {"range": (begin, min(begin + _PIECE_BYTES, stop))}
            if e_tag is not None:
                options["if_match"] = e_tag
            try:
                answer = obstore.get(self._plain, key, options=options)
            except obstore.exceptions.PreconditionError as error:
                reason = "the object was written again while it was read"
                raise StoreUnavailableError(self.url, key, reason) from error
            e_tag = answer.meta["e_tag"]
            pieces.append(answer.bytes().to_bytes())
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _list_as_served(self, folder: str, prefix: str, after: str) -> Iterator[ObjectInfo]:
        """Yield a folder's objects in the server's order, from about `after` to past `prefix`."""
        with self._answered(prefix):
            pages = obstore.list(
                self._plain,
                folder or None,
                offset=safe_offset(folder, after),
                chunk_size=_LIST_PAGE_OBJECTS,
            )
            for page in pages:
                for meta in page:
                    yield _info(meta)
                    # What begins with one prefix is served together, in either order.
                    if meta["path"] > prefix and not meta["path"].startswith(prefix):
                        return

    def _delete_singly(self, keys: Iterable[str]) -> None:
        for key in keys:
            try:
                with self._answered(key):
                    obstore.delete(self._plain, key)
            except ObjectMissingError:
                continue


def _config(location: Location, options: Mapping[str, str], keys: AwsKeys | None) -> dict[str, str]:
    """The client's own settings: the options that are not ours, and where the server is."""
    ours = {name: value for name, value in options.items() if name not in _OUR_OPTIONS}
    config = with_endpoint(location.scheme, ours)
    if keys is None:
        return config
    with asked_of_aws(location.url):
        return {**server_of(keys, options), **config}


def _info(meta: "ObjectMeta") -> ObjectInfo:
    modified_s = meta["last_modified"].timestamp()
    version = _version(meta["e_tag"]) or f"{modified_s}-{meta['size']}"
    return ObjectInfo(meta["path"], meta["size"], modified_s, version)


def _version(e_tag: str | None) -> str:
    """Return an entity tag as headers have it: in lists, Azure leaves out the quotes."""
    return f'"{e_tag}"' if e_tag and not e_tag.endswith('"') else e_tag or ""

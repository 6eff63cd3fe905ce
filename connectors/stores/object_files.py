"""Streams of an object store's objects, as pyarrow's readers and writers want them."""

import io
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

import obstore
import pyarrow as pa
from pyarrow import fs

from connectors.stores.output import Output
from connectors.stores.patience import Patience

if TYPE_CHECKING:
    from obstore import ReadableFile, WritableFile
    from obstore.store import ObjectStore
    from typing_extensions import Buffer

_TRIES: Final = 4
# How pyarrow calls what the options call by the names of the environment.
_S3_NAMES: Final[Mapping[str, str]] = {
    "aws_access_key_id": "access_key",
    "aws_secret_access_key": "secret_key",
    "aws_session_token": "session_token",
    "aws_region": "region",
    "aws_default_region": "region",
    "region": "region",
}


def open_s3_files(
    config: Mapping[str, str], patience: Patience, connect_timeout_s: float
) -> fs.FileSystem:
    """Open pyarrow's S3 client on the server that obstore's settings name.

    What the settings leave out (credentials, region) it finds where all AWS tools do.
    """
    settings: dict[str, str] = {
        ours: config[name] for name, ours in _S3_NAMES.items() if name in config
    }
    endpoint = config.get("aws_endpoint_url_s3", "")
    if endpoint:
        scheme, _, host = endpoint.rpartition("://")
        settings |= {"scheme": scheme or "https", "endpoint_override": host.rstrip("/")}
    return fs.S3FileSystem(
        **settings,
        connect_timeout=connect_timeout_s,
        request_timeout=patience.timeout_s,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_TRIES),
    )


def open_by_client(client: "ObjectStore", key: str) -> pa.NativeFile:
    """Open an object through obstore: for the stores that pyarrow is not used for."""
    return pa.PythonFile(ObjectInput(obstore.open_reader(client, key)), mode="r")


class ObjectInput(io.RawIOBase):
    """An object for random access through obstore, as a file of Python's."""

    def __init__(self, reader: "ReadableFile") -> None:
        super().__init__()
        self._reader = reader

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place; return it."""
        return self._reader.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._reader.tell()

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes, or all that are left."""
        wanted = None if size is None or size < 0 else size
        return self._reader.read(wanted).to_bytes()


class ObjectOutput(Output):
    """An upload that becomes an object when it is closed.

    Small objects are one request at close; larger ones are uploaded in parts meanwhile, which
    no reader sees until the upload is completed.
    """

    __slots__ = ("_answered", "_key", "_writer")

    def __init__(
        self,
        writer: "WritableFile",
        answered: Callable[[str], AbstractContextManager[None]],
        key: str,
    ) -> None:
        super().__init__()
        self._writer: WritableFile | None = writer
        self._answered = answered  # turns what the client raises of a key into our errors
        self._key = key

    def _write(self, data: "Buffer") -> int:
        assert self._writer is not None
        # The client takes unsigned bytes only; pyarrow's buffers say that theirs are signed.
        view = memoryview(data).cast("B")
        with self._answered(self._key):
            self._writer.write(view)
        return view.nbytes

    def _publish(self) -> None:
        assert self._writer is not None
        with self._answered(self._key):
            self._writer.close()
        self._writer = None

    def _forget(self) -> None:
        # The client publishes at its own close only; dropped, it stops.
        self._writer = None

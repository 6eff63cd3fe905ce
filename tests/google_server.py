"""A server that speaks as Google Cloud Storage does, for tests: its XML API, on loopback only.

No emulator that can be installed knows the conditions under which objects are created, so this one
is ours, written from what Google documents: generations and `x-goog-if-generation-match`, 404 for
the delete of what is missing, names in the order of their bytes, uploads in parts that are seen
when they are completed. It keeps everything in memory. That the client and we speak as documented
is what it shows; that Google does is not.
"""

import hashlib
import itertools
import json
import re
import sys
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree.ElementTree import Element, SubElement, fromstring, tostring

BUCKET: Final = "test"
TOKEN: Final = ""
"""What a service account without OAuth shows: the only kind that all clients take here."""
PAGE_OBJECTS_MAX: Final = 1000
PART_BYTES_MIN: Final = 5 * 1024 * 1024
_RANGE: Final = re.compile(r"bytes=(\d+)-(\d*)")


class Kept(NamedTuple):
    """One object."""

    data: bytes
    generation: int
    at_s: float

    @property
    def e_tag(self) -> str:
        """What changes with each write, of the same bytes, too, as of objects made of parts."""
        return f'"{_digest(self.data)}-{self.generation}"'


class RefusedError(Exception):
    """An answer that is an error."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass
class GoogleServer:
    """One bucket and who may use it. `refuse_next` answers so many requests with 503."""

    port: int = 0
    token: str = TOKEN
    refuse_next: int = 0
    objects: dict[str, Kept] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1_700_000_000_000_000))

    @property
    def url(self) -> str:
        """The URL of its bucket."""
        return f"gs://{BUCKET}"

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """The variables under which the client finds it."""
        account = {"gcs_base_url": self.endpoint, "disable_oauth": True}
        account |= {"client_email": "", "private_key": "", "private_key_id": ""}
        return {
            "GOOGLE_BASE_URL": self.endpoint,
            "GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(account),
        }

    # --- what can be asked -----------------------------------------------------------------------

    def put(self, name: str, data: bytes, condition: str | None) -> Kept:
        """Write an object, if its generation is the one that is asked for (0: none is there)."""
        with self.lock:
            before = self.objects.get(name)
            generation = 0 if before is None else before.generation
            if condition is not None and int(condition) != generation:
                raise RefusedError(
                    HTTPStatus.PRECONDITION_FAILED,
                    "PreconditionFailed",
                    "At least one of the pre-conditions you specified did not hold.",
                )
            # The times of a server, which nobody sets.
            kept = Kept(data, next(self.numbers), time.time())  # noqa: TID251
            self.objects[name] = kept
            return kept

    def get(self, name: str) -> Kept:
        """Return an object."""
        with self.lock:
            kept = self.objects.get(name)
        if kept is None:
            raise _missing(name)
        return kept

    def delete(self, name: str) -> None:
        """Remove an object; a missing one is an error."""
        with self.lock:
            if self.objects.pop(name, None) is None:
                raise _missing(name)

    def page(self, prefix: str, after: str, count: int) -> tuple[list[tuple[str, Kept]], bool]:
        """Return names after one, in the order of their bytes, and whether there are more."""
        with self.lock:
            found = sorted(self.objects.items(), key=lambda item: item[0].encode())
        names = [name.encode() for name, _ in found]
        rest = found[bisect_right(names, after.encode()) if after else 0 :]
        mine = [(name, kept) for name, kept in rest if name.startswith(prefix)]
        return mine[:count], len(mine) > count

    def begin_upload(self) -> str:
        """Begin an upload in parts; return its name."""
        with self.lock:
            upload = f"upload-{next(self.numbers)}"
            self.uploads[upload] = {}
            return upload

    def put_part(self, upload: str, number: int, data: bytes) -> str:
        """Take a part; return its tag."""
        with self.lock:
            self._parts(upload)[number] = data
        return f'"{_digest(data)}"'

    def end_upload(self, name: str, upload: str, wanted: list[tuple[int, str]]) -> Kept:
        """Make an object of parts, which must be those that were taken, in their order."""
        with self.lock:
            parts = self._parts(upload)
            if not wanted:
                raise RefusedError(HTTPStatus.BAD_REQUEST, "MalformedXML", "no parts")
            for number, tag in wanted:
                if number not in parts or _digest(parts[number]) != tag:
                    raise RefusedError(HTTPStatus.BAD_REQUEST, "InvalidPart", f"part {number}")
            if any(len(parts[number]) < PART_BYTES_MIN for number, _ in wanted[:-1]):
                raise RefusedError(HTTPStatus.BAD_REQUEST, "EntityTooSmall", "a part is too small")
            if [number for number, _ in wanted] != sorted({number for number, _ in wanted}):
                raise RefusedError(HTTPStatus.BAD_REQUEST, "InvalidPartOrder", "not in order")
            data = b"".join(parts[number] for number, _ in wanted)
            del self.uploads[upload]
        return self.put(name, data, None)

    def drop_upload(self, upload: str) -> None:
        """Forget an upload and its parts."""
        with self.lock:
            self._parts(upload)
            del self.uploads[upload]

    def _parts(self, upload: str) -> dict[int, bytes]:
        if upload not in self.uploads:
            raise RefusedError(HTTPStatus.NOT_FOUND, "NoSuchUpload", "no such upload")
        return self.uploads[upload]

    def admit(self, authorization: str | None, bucket: str) -> None:
        """Say who may come in."""
        with self.lock:
            refuses = self.refuse_next > 0
            self.refuse_next -= refuses
        if refuses:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable", "later")
        if (authorization or "").removeprefix("Bearer").strip() != self.token:
            raise RefusedError(HTTPStatus.UNAUTHORIZED, "AuthenticationRequired", "who are you?")
        if bucket != BUCKET:
            raise RefusedError(
                HTTPStatus.NOT_FOUND, "NoSuchBucket", "The specified bucket does not exist."
            )


def _missing(name: str) -> RefusedError:
    return RefusedError(HTTPStatus.NOT_FOUND, "NoSuchKey", f"No such object: {BUCKET}/{name}")


def _digest(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    """One request after the other of one connection."""

    protocol_version = "HTTP/1.1"
    google: GoogleServer

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_HEAD(self) -> None:
        self._answer(self._get)

    def do_PUT(self) -> None:
        self._answer(self._put)

    def do_POST(self) -> None:
        self._answer(self._post)

    def do_DELETE(self) -> None:
        self._answer(self._delete)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there.
        """Say nothing: what a test sees is what its client says."""

    def _answer(self, act: Callable[[str, dict[str, str], bytes], None]) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        bucket, _, name = parts.path.lstrip("/").partition("/")
        asked = parse_qs(parts.query, keep_blank_values=True)
        try:
            self.google.admit(self.headers.get("Authorization"), unquote(bucket))
            act(unquote(name), {key: values[0] for key, values in asked.items()}, body)
        except RefusedError as error:
            document = Element("Error")
            SubElement(document, "Code").text = error.code
            SubElement(document, "Message").text = str(error)
            self._say(error.status, tostring(document))

    def _say(
        self,
        status: HTTPStatus,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        size_bytes: int | None = None,
    ) -> None:
        self.send_response(status)
        for header, value in (headers or {}).items():
            self.send_header(header, value)
        self.send_header("Content-Length", str(len(body) if size_bytes is None else size_bytes))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _get(self, name: str, asked: dict[str, str], _body: bytes) -> None:
        if not name:
            self._say(HTTPStatus.OK, self._listing(asked))
            return
        kept = self.google.get(name)
        match = self.headers.get("If-Match")
        if match is not None and match != kept.e_tag:
            raise RefusedError(HTTPStatus.PRECONDITION_FAILED, "PreconditionFailed", "If-Match")
        headers = {
            "ETag": kept.e_tag,
            "x-goog-generation": str(kept.generation),
            "Last-Modified": formatdate(kept.at_s, usegmt=True),
        }
        size_bytes = len(kept.data)
        ranged = _RANGE.fullmatch(self.headers.get("Range") or "")
        if ranged is None:
            self._say(HTTPStatus.OK, kept.data, headers, size_bytes)
            return
        begin, last = int(ranged[1]), min(int(ranged[2] or size_bytes), size_bytes - 1)
        if begin >= size_bytes:
            raise RefusedError(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "InvalidRange", "past the end"
            )
        headers["Content-Range"] = f"bytes {begin}-{last}/{size_bytes}"
        self._say(HTTPStatus.PARTIAL_CONTENT, kept.data[begin : last + 1], headers)

    def _listing(self, asked: dict[str, str]) -> bytes:
        after = asked.get("continuation-token") or asked.get("start-after", "")
        count = min(int(asked.get("max-keys", PAGE_OBJECTS_MAX)), PAGE_OBJECTS_MAX)
        found, is_more = self.google.page(asked.get("prefix", ""), after, count)
        document = Element("ListBucketResult")
        for name, kept in found:
            one = SubElement(document, "Contents")
            SubElement(one, "Key").text = name
            SubElement(one, "ETag").text = kept.e_tag
            SubElement(one, "Size").text = str(len(kept.data))
            at = time.gmtime(kept.at_s)
            SubElement(one, "LastModified").text = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", at)
        if is_more:
            SubElement(document, "NextContinuationToken").text = found[-1][0]
        return tostring(document)

    def _put(self, name: str, asked: dict[str, str], body: bytes) -> None:
        if "uploadId" in asked:
            tag = self.google.put_part(asked["uploadId"], int(asked["partNumber"]), body)
            self._say(HTTPStatus.OK, headers={"ETag": tag})
            return
        kept = self.google.put(name, body, self.headers.get("x-goog-if-generation-match"))
        self._written(kept, b"")

    def _post(self, name: str, asked: dict[str, str], body: bytes) -> None:
        if "uploads" in asked:
            document = Element("InitiateMultipartUploadResult")
            SubElement(document, "UploadId").text = self.google.begin_upload()
            self._say(HTTPStatus.OK, tostring(document))
            return
        parts = fromstring(body).iter("Part")  # noqa: S314 - by a client of ours.
        wanted = [
            (int(part.findtext("PartNumber", "")), part.findtext("ETag", "").strip('"'))
            for part in parts
        ]
        kept = self.google.end_upload(name, asked["uploadId"], wanted)
        document = Element("CompleteMultipartUploadResult")
        SubElement(document, "ETag").text = kept.e_tag
        self._written(kept, tostring(document))

    def _delete(self, name: str, asked: dict[str, str], _body: bytes) -> None:
        if "uploadId" in asked:
            self.google.drop_upload(asked["uploadId"])
        else:
            self.google.delete(name)
        self._say(HTTPStatus.NO_CONTENT)

    def _written(self, kept: Kept, body: bytes) -> None:
        headers = {"ETag": kept.e_tag, "x-goog-generation": str(kept.generation)}
        self._say(HTTPStatus.OK, body, headers)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up; of all else what is usual."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextmanager
def running_google() -> Iterator[GoogleServer]:
    """Run a server with one empty bucket, until the block ends."""
    google = GoogleServer()
    handler = type("Handler", (_Handler,), {"google": google})
    with _Server(("127.0.0.1", 0), handler) as server:
        google.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield google
        finally:
            server.shutdown()

"""What goes wrong with a real server, and what a caller then sees."""

import subprocess
import sys
import time
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError

from connectors.errors import (
    BadUrlError,
    ObjectMissingError,
    StoreDeniedError,
    StoreUnavailableError,
    StoreUnsureError,
)
from connectors.store import Store, open_store
from connectors.stores import object_files
from connectors.stores.object_store import ObjectStore
from connectors.stores.patience import Patience
from connectors.stores.s3_uploads import abort_uploads, open_client
from rayorch.clock import SystemClock
from tests.connectors.stores.conftest import trusted_generic
from tests.connectors.stores.lossy_proxy import lossy_proxy
from tests.e2e.throttling_proxy import throttling_proxy
from tests.s3_server import S3Server

pytestmark = pytest.mark.e2e

# What a call may take at most: its deadline and one more request, with some air for a busy machine.
IMPATIENT = {"timeout_s": "0.5", "deadline_s": "1"}
CALL_S_MAX = 5


@pytest.mark.parametrize("lost", [1, 2])
def test_a_winner_whose_reply_was_lost_is_told_that_it_won(
    s3: S3Server, fresh_name: str, lost: int
) -> None:
    """The server created the object, the repeated request finds its key taken: by ourselves."""
    with lossy_proxy(s3.port) as proxy:
        store = open_store(f"{s3.url}/{fresh_name}", {"aws_endpoint_url": proxy.url})
        proxy.to_lose = lost

        assert store.put_if_absent("log/1", b"mine, by its nonce") == "won"
        assert proxy.lost == lost
        assert store.get("log/1") == b"mine, by its nonce"
        assert store.put_if_absent("log/1", b"of another") == "occupied"


def test_a_put_whose_reply_was_lost_is_repeated(s3: S3Server, fresh_name: str) -> None:
    with lossy_proxy(s3.port) as proxy:
        store = open_store(f"{s3.url}/{fresh_name}", {"aws_endpoint_url": proxy.url})
        proxy.to_lose = 1

        store.put("k", b"data")

        assert proxy.lost == 1
        assert store.get("k") == b"data"


def test_a_server_that_hangs_is_given_up_and_the_doubt_is_settled_later(
    s3: S3Server, fresh_name: str
) -> None:
    """The request that timed out may be applied when the server goes on; asking again tells."""
    open_store(f"{s3.url}/{fresh_name}").put("known", b"x")
    store = open_store(f"{s3.url}/{fresh_name}", IMPATIENT)
    s3.pause()
    try:
        for call, kind in HANGING_CALLS:
            began_s = time.perf_counter()
            with pytest.raises(kind):
                call(store)
            assert time.perf_counter() - began_s < CALL_S_MAX
    finally:
        s3.resume()

    assert open_store(store.url).put_if_absent("new", b"nonce") == "won"


HANGING_CALLS: list[tuple[Callable[[Store], object], type[Exception]]] = [
    (lambda store: store.get("known"), StoreUnavailableError),
    (lambda store: store.put("known", b"y"), StoreUnavailableError),
    (lambda store: store.put_if_absent("new", b"nonce"), StoreUnsureError),
    (lambda store: list(store.list()), StoreUnavailableError),
]


def test_a_hanging_server_does_not_hang_the_generic_store(s3: S3Server, fresh_name: str) -> None:
    """s3fs waits for ever for a server that takes a body and stays silent."""
    open_store(f"{s3.url}/{fresh_name}").put("known", b"x")
    store = trusted_generic(f"{s3.url}/{fresh_name}", IMPATIENT)
    s3.pause()
    try:
        for call, kind in HANGING_CALLS[:2]:
            began_s = time.perf_counter()
            with pytest.raises(kind):
                call(store)
            assert time.perf_counter() - began_s < CALL_S_MAX
    finally:
        s3.resume()


def test_a_missing_bucket_and_a_wrong_key_are_told_apart(s3: S3Server) -> None:
    missing = open_store("s3://no-such-bucket/x")
    denied = open_store(s3.url, {"aws_secret_access_key": "wrong"})

    for call in (
        lambda store: store.get("k"),
        lambda store: store.put("k", b"x"),
        lambda store: store.put_if_absent("k", b"x"),
        lambda store: list(store.list("f/")),
        lambda store: store.open_output("k").close(),
    ):
        with pytest.raises(BadUrlError, match="no such bucket"):
            call(missing)
        with pytest.raises(StoreDeniedError, match="SignatureDoesNotMatch"):
            call(denied)


def test_the_given_endpoint_counts_more_than_the_environment(
    s3: S3Server, fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client itself would prefer AWS_ENDPOINT_URL_S3."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    store = open_store(f"{s3.url}/{fresh_name}", {"endpoint_url": s3.endpoint})

    store.put("k", b"x")

    assert store.get("k") == b"x"
    assert store.open_input("k").read() == b"x"


def test_reading_through_the_client_without_pyarrow_s_own(s3: S3Server, fresh_name: str) -> None:
    """As Google and Azure are read, for which there is no server here."""
    store = open_store(f"{s3.url}/{fresh_name}")
    assert isinstance(store, ObjectStore)
    with store.open_output("t.parquet") as stream:
        pq.write_table(pa.table({"id": range(1000)}), stream)

    source = object_files.open_by_client(store._plain, "t.parquet")

    assert pq.read_table(source).column("id").to_pylist() == list(range(1000))
    with pytest.raises(FileNotFoundError):
        object_files.open_by_client(store._plain, "nothing")


def test_a_child_of_a_fork_is_refused_and_does_not_hang(s3: S3Server, fresh_name: str) -> None:
    script = f"""
import os
from connectors.errors import StoreForkedError
from connectors.store import open_store
store = open_store({f"{s3.url}/{fresh_name}"!r})
store.put("k", b"x")
child = os.fork()
if child == 0:
    refused = 0
    for other in (store, open_store(store.url)):
        try:
            other.get("k")
        except StoreForkedError:
            refused += 1
    os._exit(refused)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, timeout=30, check=True
    )

    assert answer.stdout.strip() == b"2", "the store that was inherited, and a new one"


def test_what_was_acknowledged_survives_a_killed_server(s3: S3Server, fresh_name: str) -> None:
    store = open_store(f"{s3.url}/{fresh_name}")
    for number in range(20):
        assert store.put_if_absent(f"log/{number:03}", b"%d" % number) == "won"

    s3.crash()
    s3.restart()

    assert [store.get(info.key) for info in store.list("log/")] == [b"%d" % n for n in range(20)]
    with pytest.raises(ObjectMissingError):
        store.get("log/020")


def test_a_request_outlasts_a_server_that_starts_again(s3: S3Server, fresh_name: str) -> None:
    """It was seen to fail with five tries, which are over in a second."""
    url = f"{s3.url}/{fresh_name}"
    open_store(url).put("k", b"x")

    with throttling_proxy(s3.port) as proxy:
        proxy.drop_first = 9

        assert open_store(url, {"endpoint": proxy.url}).get("k") == b"x"

        assert proxy.drop_first == 0


UPLOADING = """
import os, signal, sys
from connectors.store import open_store

stream = open_store(sys.argv[1]).open_output("_data/run-1/part.parquet")
for _ in range(6):
    stream.write(bytes(8 << 20))
print("parts are there", flush=True)
signal.pause()
"""


def test_what_a_writer_left_that_was_killed_in_the_middle_of_an_upload_is_ended(
    s3: S3Server, fresh_name: str
) -> None:
    """No reader sees the parts, and nobody else ever removes them."""
    store = open_store(f"{s3.url}/{fresh_name}")
    other = store.open_output("_data/run-2/part.parquet")
    with subprocess.Popen(
        [sys.executable, "-c", UPLOADING, store.url], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "parts are there\n"
        writer.kill()
    other.write(bytes(40 << 20))
    now_s = SystemClock().now_s()

    assert list(store.list()) == []
    assert uploads(s3, fresh_name) == ["_data/run-1/part.parquet", "_data/run-2/part.parquet"]
    assert store.sweep_unfinished("_data/run-1/", now_s - 3600) == 0, "it may still be written"
    assert store.sweep_unfinished("_data/run-1/", now_s + 1) == 1
    assert uploads(s3, fresh_name) == ["_data/run-2/part.parquet"]

    other.close()
    assert [info.key for info in store.list()] == ["_data/run-2/part.parquet"]
    assert store.sweep_unfinished("", now_s + 1) == 0


def uploads(s3: S3Server, folder: str) -> list[str]:
    """Return the keys under a folder that are being uploaded, as the server tells."""
    client = open_client(
        {"aws_endpoint_url_s3": s3.endpoint, "aws_region": "us-east-1"}, None, Patience()
    )
    found = client.list_multipart_uploads(Bucket=s3.bucket, Prefix=f"{folder}/")
    return sorted(each["Key"].removeprefix(f"{folder}/") for each in found.get("Uploads", ()))


def test_where_uploads_may_not_be_listed_they_are_left_to_the_rules_of_the_bucket(
    s3: S3Server, fresh_name: str
) -> None:
    class Refusing:
        def get_paginator(self, name: str) -> "Refusing":
            assert name == "list_multipart_uploads"
            return self

        def paginate(self, **_asked: str) -> list[dict[str, object]]:
            said = {"Error": {"Code": "AccessDenied", "Message": "not yours"}}
            raise ClientError(said, "ListMultipartUploads")

    assert abort_uploads(Refusing(), s3.url, s3.bucket, fresh_name, 2e9) == 0

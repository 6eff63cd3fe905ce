"""Keys that a profile of AWS names, for a server that takes no others, and while they change."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rayorch as ro
from connectors.errors import StoreDeniedError, StoreUnavailableError
from connectors.formats.delta_log import table_options
from connectors.store import Store, open_store
from connectors.stores import aws_keys
from rayorch import client
from rayorch.client import Connection, LocalControl
from rayorch.clock import SystemClock
from rayorch.home import open_home
from rayorch.settings import Settings
from tests.s3_server import S3Server, running_s3

clock = SystemClock()
KEYS, OTHER_KEYS = ("first", "firstsecret"), ("second", "secondsecret")
PROCESS = """
import json, pathlib, time
calls = pathlib.Path({calls!r})
calls.write_text(calls.read_text() + "x" if calls.exists() else "x")
access_key, secret_key = json.loads(pathlib.Path({keys!r}).read_text())
expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + {lasts_s}))
print(json.dumps({{"Version": 1, "AccessKeyId": access_key, "SecretAccessKey": secret_key,
                  "Expiration": expires}}))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_s3(tmp_path_factory.mktemp("s3-keys")) as running:
        yield running


@pytest.fixture
def fresh_name() -> str:
    return os.urandom(4).hex()


class Profile:
    """The files of AWS on this machine, with one profile in them."""

    def __init__(self, folder: Path, server: S3Server) -> None:
        self.folder = folder
        self.server = server
        self.config, self.credentials = folder / "config", folder / "credentials"

    def configure(self, name: str = "lake", **lines: str) -> None:
        said = {"region": "us-east-1", "endpoint_url": self.server.endpoint, **lines}
        text = "\n".join(f"{key} = {value}" for key, value in said.items())
        self.config.write_text(f"[profile {name}]\n{text}\n")

    def lend(self, keys: tuple[str, str], name: str = "lake") -> None:
        access_key, secret_key = keys
        self.credentials.write_text(
            f"[{name}]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"
        )

    def lend_by_process(self, keys: tuple[str, str], lasts_s: float) -> None:
        script = self.folder / "lend.py"
        calls, kept = self.folder / "calls", self.folder / "keys.json"
        script.write_text(PROCESS.format(calls=str(calls), keys=str(kept), lasts_s=lasts_s))
        kept.write_text(json.dumps(keys))
        self.configure(credential_process=f"{sys.executable} {script}")

    @property
    def calls(self) -> int:
        return len((self.folder / "calls").read_text())


@pytest.fixture
def profile(tmp_path: Path, server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Profile:
    server.take_only(*KEYS)
    for name in server.environment():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    profile = Profile(tmp_path, server)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(profile.config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profile.credentials))
    monkeypatch.setenv("AWS_PROFILE", "lake")
    return profile


def wait_until_works(call: Callable[[], object], wait_s: float = 20.0) -> None:
    """Do again what says that it may be done again."""
    begun_s = clock.monotonic_s()
    while True:
        try:
            call()
        except StoreUnavailableError:
            assert clock.monotonic_s() - begun_s < wait_s
        else:
            return


def works(store: Store) -> None:
    """Do everything that a run does with a store."""
    table = pa.table({"id": range(1000)})
    with store.open_output("t.parquet") as stream:
        pq.write_table(table, stream)
    store.delete(["once"])
    assert store.put_if_absent("once", b"mine") == "won"
    assert {"once", "t.parquet"} <= {info.key for info in store.list()}
    assert pq.read_table(store.open_input("t.parquet")).equals(table)


def test_a_profile_gives_keys_region_and_server(
    profile: Profile, server: S3Server, fresh_name: str
) -> None:
    profile.configure()
    profile.lend(KEYS)

    works(open_store(f"{server.url}/{fresh_name}"))

    options = table_options(server.url, {})
    assert options["aws_access_key_id"] == KEYS[0]
    assert options["aws_endpoint_url_s3"] == server.endpoint


def test_keys_in_the_environment_count_more_than_a_profile_there_and_less_than_an_option(
    profile: Profile, server: S3Server, fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As all tools of AWS have it."""
    profile.configure()
    profile.lend(KEYS)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    url = f"{server.url}/{fresh_name}"

    with pytest.raises(StoreDeniedError, match="SignatureDoesNotMatch"):
        open_store(url).put("k", b"x")
    open_store(url, {"aws_profile": "lake"}).put("k", b"x")


def test_a_profile_that_is_nowhere_is_named(profile: Profile, server: S3Server) -> None:
    profile.configure("another")

    with pytest.raises(StoreDeniedError, match=r"there are no keys: .*\(lake\) could not be found"):
        open_store(server.url)


def test_a_process_that_fails_is_told_with_what_it_said(profile: Profile, server: S3Server) -> None:
    profile.configure(
        credential_process=f"{sys.executable} -c 'raise SystemExit(\"log in first\")'"
    )

    with pytest.raises(StoreDeniedError, match="log in first"):
        open_store(server.url).put("k", b"x")


def test_keys_that_a_process_lends_are_renewed_before_they_expire(
    profile: Profile, server: S3Server, fresh_name: str
) -> None:
    """And not for each request, although botocore would start the process for each."""
    profile.lend_by_process(KEYS, lasts_s=8.0)
    store = open_store(f"{server.url}/{fresh_name}")
    works(store)
    assert profile.calls <= 2

    (profile.folder / "keys.json").write_text(json.dumps(OTHER_KEYS))
    # Longer than what is left of keys is waited for, before they are asked for again.
    clock.sleep(2.5)
    before = profile.calls
    server.take_only(*OTHER_KEYS)

    works(store)
    assert 1 <= profile.calls - before <= 3


def swapped(profile: Profile, server: S3Server, name: str, ask: Callable[[Store], object]) -> Store:
    """Return a store whose server has let go of its keys, refused a request, and lent new ones."""
    profile.configure()
    profile.lend(KEYS)
    store = open_store(f"{server.url}/{name}")
    works(store)
    server.take_only(*OTHER_KEYS)
    with pytest.raises(StoreDeniedError, match="InvalidAccessKeyId"):
        ask(store)
    profile.lend(OTHER_KEYS)
    return store


def test_keys_that_are_replaced_under_a_call_make_it_one_to_try_again(
    profile: Profile, server: S3Server, fresh_name: str
) -> None:
    store = swapped(profile, server, fresh_name, lambda store: store.put("k", b"x"))

    with pytest.raises(StoreUnavailableError, match="the keys were replaced while they were used"):
        store.put("k", b"x")
    wait_until_works(lambda: works(store))


def test_unfinished_uploads_are_swept_with_the_keys_of_now(
    profile: Profile, server: S3Server, fresh_name: str
) -> None:
    """It has a client of its own, which does not ask again by itself."""
    store = swapped(
        profile, server, fresh_name, lambda store: store.sweep_unfinished("", clock.now_s())
    )

    assert store.sweep_unfinished("", clock.now_s()) == 0


def test_a_run_goes_on_when_its_keys_are_swapped_in_the_middle(
    profile: Profile, server: S3Server, fresh_name: str, tmp_path: Path
) -> None:
    """Home, input and output: what was refused with the old keys is done again with the new."""
    profile.configure()
    profile.lend(KEYS)
    url, gate = f"{server.url}/{fresh_name}", tmp_path / "gate"
    for number in range(6):
        with open_store(f"{url}/in").open_output(f"{number}.parquet") as stream:
            pq.write_table(pa.table({"id": [number]}), stream)
    pipeline = ro.Pipeline("swap", retry=ro.RetryPolicy(backoff_s=0.05))
    rows = pipeline.read("rows", f"{url}/in/*.parquet", split="file")

    @pipeline.map(rows, output="mapped")
    def mapped(table: pa.Table) -> pa.Table:
        while table["id"][0].as_py() >= 2 and not gate.exists():
            clock.sleep(0.01)
        return table

    mapped.write(f"{url}/out", format="delta")
    at = Connection(
        open_home(f"{url}/home"), clock, Settings(home=f"{url}/home", executor="in-process")
    )
    with closing(LocalControl(at.home, clock, 2)) as control:
        run = client.submit_run(at, control, pipeline)
        while control.view(run).committed < 2:
            control.wait_news(0.1)
        profile.lend(OTHER_KEYS)
        server.take_only(*OTHER_KEYS)
        gate.touch()
        *_, view = client.follow(at, control, run)

    assert view.state == "succeeded", view.error
    assert sorted(ro.read(f"{url}/out").to_table()["id"].to_pylist()) == list(range(6))


def test_the_client_asks_where_nothing_of_aws_stands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It finds the role of a machine by itself: who has no files pays for no botocore."""
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)

    assert aws_keys.keys_for({}) is None
    assert aws_keys.keys_for({"AWS_PROFILE": "x"}) is not None

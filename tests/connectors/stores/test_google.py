"""What goes wrong with Google Cloud Storage, and what a caller then sees."""

import pytest

from connectors.errors import BadUrlError, StoreDeniedError
from connectors.store import open_store
from tests.connectors.stores.lossy_proxy import lossy_proxy
from tests.connectors.stores.test_races import assert_one_winner_each
from tests.google_server import GoogleServer

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("lost", [1, 2])
def test_a_winner_whose_reply_was_lost_is_told_that_it_won(
    google: GoogleServer, fresh_name: str, lost: int
) -> None:
    """The server created the object, the repeated request finds its key taken: by ourselves."""
    with lossy_proxy(google.port) as proxy:
        store = open_store(f"{google.url}/{fresh_name}", {"google_base_url": proxy.url})
        proxy.to_lose = lost

        assert store.put_if_absent("log/1", b"mine, by its nonce") == "won"
        assert proxy.lost == lost
        assert store.get("log/1") == b"mine, by its nonce"
        assert store.put_if_absent("log/1", b"of another") == "occupied"


def test_a_server_that_has_no_time_is_asked_again(google: GoogleServer, fresh_name: str) -> None:
    store = open_store(f"{google.url}/{fresh_name}")

    google.refuse_next = 2
    store.put("k", b"x")
    google.refuse_next = 2
    assert store.put_if_absent("once", b"mine") == "won"
    google.refuse_next = 2
    assert [info.key for info in store.list()] == ["k", "once"]
    google.refuse_next = 2
    assert store.get("k") == b"x"

    assert google.refuse_next == 0


def test_a_missing_bucket_and_a_stranger_are_told_apart(
    google: GoogleServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = (
        lambda store: store.get("k"),
        lambda store: store.put("k", b"x"),
        lambda store: store.put_if_absent("k", b"x"),
        lambda store: list(store.list("f/")),
        lambda store: store.open_output("k").close(),
    )
    for call in calls:
        with pytest.raises(BadUrlError, match="no such bucket"):
            call(open_store("gs://no-such-bucket/x"))
    monkeypatch.setattr(google, "token", "of somebody else")
    for call in calls:
        with pytest.raises(StoreDeniedError, match="AuthenticationRequired"):
            call(open_store(google.url))


def test_more_objects_than_a_page_has_are_listed_in_order(
    google: GoogleServer, fresh_name: str
) -> None:
    for number in range(2500):
        google.put(f"{fresh_name}/log/{number:05}", b"x", None)
    store = open_store(f"{google.url}/{fresh_name}")

    names = [f"log/{number:05}" for number in range(2500)]
    assert [info.key for info in store.list("log/")] == names
    assert [info.key for info in store.list("log/", "log/01199")] == names[1200:]

    store.delete(names)
    assert list(store.list()) == []


def test_of_sixteen_contenders_for_an_object_one_wins(
    google: GoogleServer, fresh_name: str
) -> None:
    assert_one_winner_each(f"{google.url}/{fresh_name}", rounds=20)

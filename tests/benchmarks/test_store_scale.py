from benchmarks.store_scale import PREFIX, measured
from connectors.stores.memory import MemoryStore


def test_requests_and_listings_are_timed_and_nothing_is_left() -> None:
    store = MemoryStore("store-scale")
    store.put("other", b"1")

    found = measured(store, objects=30, threads=3)

    assert found["creates_a_second"] > 0
    assert found["gets_a_second"] > 0
    assert set(found) >= {"list_s", "list_us_an_object", "list_end_s"}
    assert not list(store.list(PREFIX))
    assert store.get("other") == b"1"

from hypothesis import given
from hypothesis import strategies as st

from connectors.store import ObjectInfo
from connectors.stores.listing import in_key_order, safe_offset

SEGMENT = st.text(alphabet="ab-.0é", min_size=1, max_size=3)
KEY = st.lists(SEGMENT, min_size=1, max_size=3).map("/".join)


def served_by_key(keys: set[str], offset: str | None) -> list[str]:
    """S3: the order of the whole key."""
    return [key for key in sorted(keys) if offset is None or key > offset]


def served_by_tree(keys: set[str], offset: str | None) -> list[str]:
    """SeaweedFS: segment by segment; to start after a folder's name skips what is in it."""
    served = sorted(keys, key=lambda key: key.split("/"))
    if offset is None:
        return served
    start = offset.split("/")
    return [
        key for key in served if key.split("/") > start and key.split("/")[: len(start)] != start
    ]


@given(st.sets(KEY, max_size=12), KEY, st.sampled_from(["", "f/"]), st.booleans())
def test_no_key_is_missed_in_either_order(
    names: set[str], after: str, folder: str, at_folder: bool
) -> None:
    """`a/b` is listed before `a-b` by a tree and after it by S3."""
    keys = {folder + name for name in names}
    after = folder + after + ("/" if at_folder else "")
    offset = safe_offset(folder, after)

    for serve in (served_by_key, served_by_tree):
        served = [ObjectInfo(key, 0, 0.0, "") for key in serve(keys, offset)]
        listed = [info.key for info in in_key_order(served, folder) if info.key > after]
        assert listed == sorted(key for key in keys if key > after)


def test_a_list_of_numbered_segments_begins_near_where_it_should() -> None:
    """The journal's names: a server must not be asked for the whole log each time."""
    assert safe_offset("log/", "log/00000000000000000123") == "log/0000000000000000012"
    assert safe_offset("log/", "log/0000123.seg") == "log/000012"
    assert safe_offset("log/", "") is None
    assert safe_offset("", "a") is None


def test_flat_listings_are_passed_on_without_being_held() -> None:
    served = iter([ObjectInfo(f"part-{n:03}", 0, 0.0, "") for n in range(100)])

    assert next(in_key_order(served, "")).key == "part-000"
    assert len(list(served)) == 98

"""Where input lies, and what it is known by: tasks are told apart by it, and egress is charged."""

from typing import Any

import pytest
from msgspec.structs import replace

from connectors.splits import Discovery, FilePart, Split
from rayorch.core.near import unpack_keys
from rayorch.core.placed import ClassPlacement, PoolPrice, pack_classes
from rayorch.errors import PoolsError
from rayorch.home import RunPlan, StagePlan, encode_split
from rayorch.host.dividing import plan_ready
from rayorch.plan.locating import keys_of, sources_of
from rayorch.plan.placing import prices_of
from rayorch.plan.pool_files import parse_pools
from rayorch.plan.pools import PoolsSpec
from tests.rayorch import make
from tests.rayorch.driver import Driver

POOLS = """
data_location: us-east-1
locations:
  s3://lake-eu: eu-west-1
  s3://lake-eu/mirror/: us-east-1
  gs://other/: asia-1
egress_usd_gb: {us-east-1: {us-west-2: 0.02}, eu-west-1: {us-west-2: 0.05, us-east-1: 0.03}}
pools:
  - {name: west, vcpu: 4, memory: 16 GiB, usd_h: 1.0, location: us-west-2, min_bill_s: 60}
  - {name: east, vcpu: 4, memory: 16 GiB, location: us-east-1}
"""


@pytest.fixture
def pools() -> PoolsSpec:
    return parse_pools(POOLS, "pools.yaml")


def stage(roots: tuple[str, ...], *splits: tuple[tuple[int, int], ...]) -> StagePlan:
    """A stage of splits; each part of one is (root, bytes)."""
    encoded = [
        Split(parts=tuple(FilePart(key="k", root=root, size_bytes=size) for root, size in parts))
        for parts in splits
    ]
    discovery = Discovery(format="parquet", schema_ipc=b"", roots=roots)
    return StagePlan(discovery, tuple(encode_split(each) for each in encoded))


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("s3://lake/lineitem", "us-east-1"),
        ("s3://lake-eu/lineitem", "eu-west-1"),
        ("s3://lake-eu", "eu-west-1"),
        ("s3://lake-eu2/lineitem", "us-east-1"),
        ("s3://lake-eu/mirror/x", "us-east-1"),
        ("s3://lake-eu/mirrors", "eu-west-1"),
        ("gs://other/a/b", "asia-1"),
        ("file:///data", "us-east-1"),
    ],
)
def test_the_longest_url_says_where_data_lies(pools: PoolsSpec, url: str, place: str) -> None:
    assert pools.location_of(url) == place


def test_a_task_is_where_most_of_its_bytes_are(pools: PoolsSpec) -> None:
    roots = ("s3://lake", "s3://lake-eu")
    found = sources_of(
        stage(roots, ((0, 10),), ((1, 10),), ((0, 10), (1, 30)), ((0, 5), (1, 5))), pools
    )

    assert found == ["us-east-1", "eu-west-1", "eu-west-1", "eu-west-1"]


def test_what_is_of_no_file_is_where_the_data_is(pools: PoolsSpec) -> None:
    assert sources_of(stage((), ()), pools) == ["us-east-1"]


def test_a_pool_knows_what_each_place_costs_and_only_what_was_said(pools: PoolsSpec) -> None:
    west, east = prices_of(pools)

    assert (west.location, west.source) == ("us-west-2", "us-east-1")
    assert [west.egress_from(place) for place in ("us-east-1", "eu-west-1", "asia-1")] == [
        0.02,
        0.05,
        0.0,
    ]
    assert east.egress_from("eu-west-1") == 0.03
    assert (west.min_bill_s, east.min_bill_s) == (60.0, 0.0)
    assert (west.bill_s, west.usd_core_h) == (0.0, 0.25)


@pytest.mark.parametrize(
    ("locations", "problem"),
    [
        ("{'s3://': x}", "must be followed by a name"),
        ("{'': x}", "it is empty"),
        ("{3: x}", "must be a URL"),
        ("{s3://lake: 7}", "locations"),
        ("[s3://lake]", "locations"),
    ],
)
def test_a_place_that_cannot_be_is_refused(locations: str, problem: str) -> None:
    text = f"locations: {locations}\npools: [{{name: a, vcpu: 1, memory: 1 GiB}}]"

    with pytest.raises(PoolsError) as refused:
        parse_pools(text, "pools.yaml")

    assert problem in str(refused.value)


def test_links_are_counted_from_place_to_place() -> None:
    """Two classes of one stage, from two places, on one pool."""
    price = PoolPrice(
        "west",
        0.25,
        egress_usd_gb=0.02,
        location="us-west-2",
        source="us-east-1",
        egress=(("eu-west-1", 0.05),),
    )
    driver = Driver()
    driver.lead()
    classes = (
        ClassPlacement("lines/1", 0, 1, source="us-east-1"),
        ClassPlacement("lines/2", 0, 1, source="eu-west-1"),
    )
    placed = replace(make.placed(prices=(price,)), classes=classes, class_of=pack_classes((0, 1)))
    driver.feed(make.submitted(), make.planned(2), placed, make.joined("r1", pool="west"))
    driver.tick()
    for lease, cached_bytes in ((driver.head("r1"), 0), (driver.queue("r1")[1], 10**9)):
        done = make.finished(lease, "r1")
        output = replace(done.output, moved_bytes=2 * 10**9, cached_bytes=cached_bytes)
        driver.feed(replace(done, pool="west", output=output))

    links = {link.source: link for link in driver.run.links}
    assert links["us-east-1"].egress_usd == pytest.approx(0.04)
    assert links["eu-west-1"].egress_usd == pytest.approx(0.10)
    assert links["eu-west-1"].saved_usd == pytest.approx(0.05)
    assert {link.to for link in driver.run.links} == {"us-west-2"}
    driver.assert_replays()


# --- what a task's input is known by ---------------------------------------------------------


def keys(*parts: FilePart, roots: tuple[str, ...] = ("s3://lake",)) -> list[int]:
    """The keys of tasks that read one part each."""
    discovery = Discovery(format="parquet", schema_ipc=b"", roots=roots)
    splits = tuple(encode_split(Split(parts=(part,))) for part in parts)
    return list(unpack_keys(keys_of(StagePlan(discovery, splits))))


def part(key: str = "a", **fields: Any) -> FilePart:
    return FilePart(key=key, size_bytes=100, **fields)


def test_the_same_input_has_the_same_key_in_every_run() -> None:
    assert keys(part(), part("b")) == keys(part(), part("b"))
    assert keys(part("b")) == keys(part(), part("b"))[1:]


def test_each_file_and_each_place_in_it_has_a_key_of_its_own() -> None:
    found = keys(
        part(),
        part("b"),
        part(row_groups=(3, 4)),
        part(start=1 << 20),
        part(root=1),
        roots=("s3://lake", "s3://other"),
    )
    assert len(set(found)) == 5


def test_a_file_that_was_written_anew_keeps_its_key() -> None:
    """What is read of it then is kept where the next run looks for it."""
    assert keys(part(version="v1")) == keys(part(version="v2"))


def test_what_is_read_as_it_is_has_no_keys() -> None:
    assert keys(part(), roots=("file:///data",)) == []
    assert keys(part(), roots=("memory://data",)) == []
    assert keys(roots=()) == []


def test_stages_without_keys_are_not_told_of() -> None:
    here = StagePlan(Discovery(format="parquet", schema_ipc=b"", roots=("file:///d",)), (b"",))
    there = stage(("s3://lake",), ((0, 10),), ((0, 20),))

    told = plan_ready(make.RUN, RunPlan((here, there)))

    assert told.task_counts == (1, 2)
    assert told.keys == {1: keys_of(there)}

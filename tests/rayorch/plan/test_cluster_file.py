"""A cluster file as a description of pools: what is known, where from, and how it is refused."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from rayorch.errors import PoolsError
from rayorch.plan.machines import RECLAIMS_UNKNOWN, Described
from rayorch.plan.pool_files import PoolFile, parse_pool_file
from rayorch.plan.pools import UNKNOWN_BYTES

FILE = """
cluster_name: test
max_workers: 9
provider: {type: aws, region: us-east-1, availability_zone: "us-east-1a, us-east-1b"}
head_node_type: head
available_node_types:
  head:
    resources: {CPU: 0}
    node_config: {InstanceType: m7i.xlarge}
  steady:
    min_workers: 1
    max_workers: 4
    resources: {CPU: 16, memory: 64000000000}
    labels:
      pool: steady
      price-per-hour: "0.8064"
      ray.io/market-type: on-demand
      ray.io/availability-region: us-east-1
      ray.io/availability-zone: us-east-1a
      disk: nvme
    node_config: {InstanceType: m7i.4xlarge}
  spot:
    resources: {CPU: 16, GPU: 1}
    labels: {pool: spot, speed: "1.35"}
    node_config: {InstanceType: m7a.4xlarge, InstanceMarketOptions: {MarketType: spot}}
"""
Node = dict[str, Any]


def cluster(change: Callable[[Node], object] | None = None) -> PoolFile:
    """The file above, changed; `change` gets what is in it."""
    given = deepcopy(yaml.safe_load(FILE))
    if change is not None:
        change(given)
    return parse_pool_file(yaml.safe_dump(given, sort_keys=False), "cluster.yaml")


def node(name: str, **changes: object) -> Callable[[Node], object]:
    return lambda given: given["available_node_types"][name].update(changes)


def labels(name: str, said: dict[str, object]) -> Callable[[Node], object]:
    return lambda given: given["available_node_types"][name]["labels"].update(said)


def another(said: dict[str, object], **changes: object) -> Callable[[Node], object]:
    """Add a node type like `steady`, with other labels."""

    def change(given: Node) -> None:
        made = deepcopy(given["available_node_types"]["steady"]) | changes
        made["labels"] |= said
        given["available_node_types"]["steady-too"] = made

    return change


def pool(file: PoolFile, name: str) -> Described:
    return next(each for each in file.described if each.spec.name == name)


def test_node_types_become_pools_and_a_head_without_cores_none() -> None:
    file = cluster()

    assert file.kind == "cluster"
    assert [each.name for each in file.spec.pools] == ["steady", "spot"]
    assert [machine.name for machine in file.machines] == [
        "node type head",
        "node type steady",
        "node type spot",
    ]
    steady = pool(file, "steady")
    spec = steady.spec
    assert (spec.vcpu, spec.memory, spec.usd_h) == (16.0, 64_000_000_000, 0.8064)
    assert (spec.location, spec.max_nodes, spec.spot) == ("us-east-1", 4, None)
    assert steady.nodes_min == 1
    # What transforms may ask for; a price is no kind of machine.
    assert spec.labels == {
        "disk": "nvme",
        "ray.io/market-type": "on-demand",
        "ray.io/availability-region": "us-east-1",
        "ray.io/availability-zone": "us-east-1a",
    }
    assert steady.facts["usd_h"].source == "label of node type steady"
    assert steady.facts["vcpu"].source == "resources of node type steady"


def test_what_nobody_says_is_not_known() -> None:
    spot = pool(cluster(), "spot")

    assert spot.spec.usd_h is None
    assert spot.spec.memory == UNKNOWN_BYTES
    assert spot.spec.spot is not None
    assert spot.spec.spot.reclaims_per_h == RECLAIMS_UNKNOWN
    assert spot.unknown == (
        "usd_h",
        "zone",
        "memory",
        "bill_s",
        "min_bill_s",
        "provision_s",
        "boot_s",
        "reclaims_per_h",
        "outage_s",
        "net_gbps",
    )
    # What the cloud is told to start says a region, a type and a market.
    assert spot.facts["market"].source == "node_config of node type spot"
    assert spot.facts["location"].source == "provider.region"
    assert (spot.spec.speed, spot.spec.gpus) == (1.35, 1.0)
    assert not cluster().spec.is_priced
    assert cluster().spec.unpriced == ("spot",)


def test_a_node_type_has_the_limit_of_its_cluster() -> None:
    assert pool(cluster(), "spot").spec.max_nodes == 9
    capped = cluster(lambda given: given.update(max_workers=3))
    assert pool(capped, "steady").spec.max_nodes == 3
    usual = cluster(lambda given: given.pop("max_workers"))
    assert pool(usual, "spot").spec.max_nodes == 2
    gone = cluster(node("spot", max_workers=0))
    assert [each.spec.name for each in gone.described] == ["steady"]


def test_node_types_that_are_alike_are_one_pool_in_several_zones() -> None:
    file = cluster(another({"ray.io/availability-zone": "us-east-1b"}, max_workers=2))

    steady = pool(file, "steady")
    assert steady.spec.max_nodes == 6
    assert steady.machines == ("node type steady", "node type steady-too")
    assert "zone" in steady.unknown
    assert "ray.io/availability-zone" not in (steady.spec.labels or {})


def test_where_data_lies_can_be_said_in_the_file() -> None:
    said = {"rayorch": {"data_location": "eu-west-1"}, "owner": "us"}

    assert cluster().spec.source == "us-east-1"
    assert cluster(lambda given: given.update(metadata=said)).spec.source == "eu-west-1"
    some = {"rayorch": {"locations": {"s3://lake-eu/": "eu-west-1"}}}
    spec = cluster(lambda given: given.update(metadata=some)).spec
    assert spec.location_of("s3://lake-eu/lineitem") == "eu-west-1"
    assert spec.location_of("s3://lake") == "us-east-1"


def test_a_pool_stands_in_its_zone_where_moving_data_between_zones_has_a_price(
    tmp_path: Path,
) -> None:
    (tmp_path / "by-zone.yaml").write_text("egress_usd_gb: {us-east-1b: {us-east-1a: 0.01}}")
    (tmp_path / "by-region.yaml").write_text("egress_usd_gb: {us-west-2: {us-east-1: 0.02}}")

    def location(book: str) -> str:
        file = parse_pool_file(FILE, "cluster.yaml", str(tmp_path / book))
        return pool(file, "steady").spec.location

    assert location("by-zone.yaml") == "us-east-1a"
    assert location("by-region.yaml") == "us-east-1"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            labels("steady", {"price-per-hour": 0.8064}),
            (
                'a label is text: put it in quotes, price-per-hour: "0.8064". pools=cluster.yaml, '
                "field=node type steady, labels.price-per-hour, value=0.8064"
            ),
        ),
        (labels("steady", {"fast": True}), 'a label is text: put it in quotes, fast: "true"'),
        (labels("steady", {"fast": ["a"]}), "a label is text, like fast: spot"),
        (labels("steady", {"disk": "two disks"}), "a label's value has at most 63 letters"),
        (labels("steady", {"disk": "x" * 64}), "a label's value has at most 63 letters"),
        (labels("steady", {"-disk": "x"}), "a label's name has at most 63 letters"),
        (labels("steady", {"a_b/disk": "x"}), "must be a DNS name, like ray.io"),
        (
            labels("steady", {"price-per-hour": "cheap"}),
            (
                'must be a number in quotes, like "0.12". pools=cluster.yaml, '
                "field=node type steady, labels.price-per-hour, value='cheap'"
            ),
        ),
        (labels("steady", {"price-per-hour": "nan"}), "must be a number in quotes"),
        (labels("steady", {"speed": "0"}), "field=node type steady, labels.speed, value=0.0"),
        (
            labels("steady", {"ray.io/market-type": "Spot"}),
            (
                "must be one of: on-demand, spot. pools=cluster.yaml, "
                "field=node type steady, labels.ray.io/market-type, value='Spot'"
            ),
        ),
        (
            labels("spot", {"ray.io/market-type": "on-demand"}),
            "node_config of node type spot says market spot, its label says on-demand",
        ),
        (
            labels("steady", {"ray.io/availability-region": "eu-west-1"}),
            "provider.region says location us-east-1, its label says eu-west-1",
        ),
        (
            labels("steady", {"ray.io/availability-zone": "us-east-1c"}),
            "provider.availability_zone says us-east-1a, us-east-1b, the label another one",
        ),
        (
            another({"price-per-hour": "0.9"}),
            (
                "node type steady and node type steady-too are both of pool steady, and differ in "
                "usd_h: 0.8064 and 0.9; machines of a pool are alike: give one of them another "
                "`pool` label. pools=cluster.yaml, field=node type steady-too, labels.price-per-"
            ),
        ),
        (another({}, resources={"CPU": 8, "memory": 64_000_000_000}), "differ in vcpu: 16.0 and"),
        (
            node("spot", labels={"pol": "spot"}),
            "the label `pool` is missing: did you mean 'pol'?",
        ),
        (
            node("spot", labels={}),
            (
                "the label `pool` is missing: labels: {pool: spot}. pools=cluster.yaml, "
                "field=node type spot, labels"
            ),
        ),
        (node("spot", labels={"pool": "a/b"}), "a label's value has at most 63"),
        (
            node("spot", resources={}),
            "node type spot does not say its cores: give it `resources: {CPU: 8}`",
        ),
        (node("spot", resources={"CPU": 0.5}), "must be a whole number"),
        (node("spot", resources={"CPU": -1}), "must be a whole number"),
        (node("spot", min_workers=10), "min_workers is above max_workers, which is 9"),
        (node("spot", labels=[1]), "a mapping is needed"),
        (lambda given: given.update(head_node_type="hed"), "must name one of the node types"),
        (
            lambda given: given.update(available_node_types={}),
            "at least one node type is needed",
        ),
        (
            lambda given: given.pop("available_node_types"),
            "a cluster file needs `available_node_types`",
        ),
        (
            lambda given: given.update(metadata={"rayorch": {"price": "p"}}),
            (
                "unknown field; did you mean 'prices'?. pools=cluster.yaml, "
                "field=metadata.rayorch.price"
            ),
        ),
        (
            lambda given: [
                node("steady", max_workers=0, min_workers=0)(given),
                given.update(max_workers=0),
            ],
            (
                "there can be no node of steady, spot: how many there may be is 0. "
                "pools=cluster.yaml, field=max_workers, value=0"
            ),
        ),
        (
            lambda given: [
                node("steady", max_workers=0, min_workers=0)(given),
                node("spot", max_workers=0, min_workers=0)(given),
            ],
            "field=node type steady, max_workers, value=0",
        ),
    ],
)
def test_what_nothing_could_be_placed_by_is_refused_with_the_remedy(
    change: Callable[[Node], object], said: str
) -> None:
    with pytest.raises(PoolsError) as caught:
        cluster(change)

    assert said in str(caught.value)


def test_how_many_nodes_there_can_be_of_all_pools_is_known() -> None:
    """`max_workers` of the cluster is over all of its node types."""
    file = cluster(lambda given: given.update(max_workers=5))

    assert file.nodes_max == 5
    assert [pool.max_nodes for pool in file.spec.pools] == [4, 5]

"""A cluster file made small enough for this machine."""

import pytest
import yaml

from rayorch.errors import PoolsError
from rayorch.plan.emulating import NODE_LABEL, Emulation, emulation_of, parsed_sizes
from rayorch.plan.pool_files import parse_pool_file
from tests.rayorch.plan.test_cluster_file import FILE


def emulated(
    sizes: dict[str, int] | None = None, slots_max: int | None = None, cores: int = 2
) -> Emulation:
    file = parse_pool_file(FILE, "cluster.yaml")
    return emulation_of(file, cores, sizes=sizes, slots_max=slots_max)


def test_nodes_are_as_many_as_the_least_that_the_file_asks_for() -> None:
    emulation = emulated()

    (node,) = emulation.nodes
    assert (node.name, node.pool, node.slots) == ("steady-0", "steady", 2)
    assert node.labels["price-per-hour"] == "0.8064"
    assert node.labels[NODE_LABEL] == "steady-0"
    (pool,) = emulation.pools.pools
    assert (pool.name, pool.max_nodes) == ("steady", 1)


def test_a_node_with_fewer_slots_costs_and_holds_as_much_less() -> None:
    emulation = emulated(slots_max=4)

    (pool,) = emulation.pools.pools
    assert (pool.vcpu, pool.usd_h, pool.memory) == (4.0, 0.2016, 16_000_000_000)
    assert emulation.nodes[0].memory_bytes == 16_000_000_000
    # What nobody knows stays unknown.
    spot = emulated({"spot": 1}, slots_max=4)
    assert spot.pools.pools[0].usd_h is None
    assert spot.nodes[0].memory_bytes is None
    assert spot.nodes[0].gpus == 1


def test_a_pool_is_as_large_as_it_is_asked_to_be() -> None:
    emulation = emulated({"steady": 1, "spot": 2})

    assert [node.name for node in emulation.nodes] == ["steady-0", "spot-0", "spot-1"]
    assert [(pool.name, pool.max_nodes) for pool in emulation.pools.pools] == [
        ("steady", 1),
        ("spot", 2),
    ]


def test_unlike_speeds_share_the_cores_that_there_are() -> None:
    emulation = emulated({"steady": 1, "spot": 1}, slots_max=2, cores=2)

    steady, spot = emulation.nodes
    assert emulation.has_unlike_speeds
    assert spot.cores_used / steady.cores_used == pytest.approx(1.35)
    assert spot.cores_used + steady.cores_used == pytest.approx(2.0)
    # On a larger machine, the fastest slot has a core of its own and no more.
    steady, spot = emulated({"steady": 1, "spot": 1}, slots_max=2, cores=64).nodes
    assert spot.cores_used == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"stedy": 1}, "no such pool; did you mean 'steady'?"),
        ({"steady": 0}, "no node is left to emulate: `min_workers` are all 0"),
        ({"steady": 51}, "at most 50 nodes are emulated on one machine"),
    ],
)
def test_sizes_that_cannot_be_are_refused(sizes: dict[str, int], said: str) -> None:
    with pytest.raises(PoolsError) as caught:
        emulated(sizes)

    assert said in str(caught.value)


def test_a_file_whose_node_types_may_be_none_says_how_to_ask_for_some() -> None:
    given = yaml.safe_load(FILE)
    given["available_node_types"]["steady"]["min_workers"] = 0
    file = parse_pool_file(yaml.safe_dump(given), "cluster.yaml")

    with pytest.raises(PoolsError, match="--emulate-nodes spot=1"):
        emulation_of(file, 2, slots_max=None)


def test_a_file_of_pools_cannot_be_emulated() -> None:
    file = parse_pool_file("- {name: a, vcpu: 1, memory: 1 GiB}", "pools.yaml")

    with pytest.raises(PoolsError, match="only a cluster file can be emulated"):
        emulation_of(file, 2, slots_max=None)


def test_sizes_are_typed_as_pairs() -> None:
    assert parsed_sizes("spot=2, steady=0") == {"spot": 2, "steady": 0}
    for text in ("spot", "spot=", "spot=-1", "=1", "spot=1.5", ""):
        with pytest.raises(ValueError, match="nodes are like spot=2,steady=1"):
            parsed_sizes(text)

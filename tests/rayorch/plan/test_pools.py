"""A file of pools: what it may say, and how it is refused."""

import json

import pytest

from rayorch.errors import PoolsError
from rayorch.plan.pool_files import parse_pools
from rayorch.plan.pools import PoolsSpec, local_pools, pool_of

FILE = """
data_location: us-east-1
egress_usd_gb: {us-east-1: {us-west-2: 0.02}}
pools:
  - {name: m7i, vcpu: 16, memory: 64 GiB, usd_h: 0.8064, location: us-east-1}
  - name: m7i-spot
    vcpu: 16
    memory: 64 GiB
    usd_h: 0.39
    location: us-west-2
    spot: {reclaims_per_h: 0.03, outage_s: 1200}
"""


def refused(text: str) -> str:
    with pytest.raises(PoolsError) as caught:
        parse_pools(text, "pools.yaml")
    return str(caught.value)


def pool(**fields: object) -> str:
    return json.dumps([{"name": "m7i", "vcpu": 16, "memory": "64 GiB", **fields}])


def test_yaml_and_json_are_read() -> None:
    spec = parse_pools(FILE, "pools.yaml")

    assert [each.name for each in spec.pools] == ["m7i", "m7i-spot"]
    assert spec.is_priced
    assert spec.source == "us-east-1"
    assert spec.network().egress_usd_gb == {("us-east-1", "us-west-2"): 0.02}
    made = pool_of(spec.pools[1], {"lines": 2.0}, speed_cv=0.1, usd_h=0.39)
    assert made.mem_gb == pytest.approx(68.719, rel=1e-4)
    assert made.spot is not None
    assert made.spot.outage_s == 1200.0
    assert parse_pools(pool(usd_h=4e-7), "pools.json").pools[0].usd_h == 4e-7


def test_a_pool_without_a_price_is_not_given_one() -> None:
    assert not parse_pools(pool(), "pools.json").is_priced
    assert not local_pools(4, 2**34).is_priced


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (pool(usd_h=-1), "greater than or equal to 0. pools=pools.yaml, field=pools[m7i].usd_h"),
        (FILE.replace("0.39", ".nan"), "field=pools[m7i-spot].usd_h, value=nan"),
        (pool(usd_h=float("inf")), "field=pools[m7i].usd_h"),
        (pool(usd_h="1 USD"), "field=pools[m7i].usd_h, value='1 USD'"),
        (pool(max_node=3), "unknown field; did you mean 'max_nodes'?"),
        (pool(spot={"reclaims_per_hour": 1}), "did you mean 'reclaims_per_h'?"),
        (pool(vcpu=0), "greater than or equal to 0.001"),
        (pool(max_nodes=0), "field=pools[m7i].max_nodes, value=0"),
        (pool(memory="64 Gigs"), "field=pools[m7i].memory"),
        (pool(name="a/b"), "a name holds letters"),
        ('[{"name": "m7i"}]', "required field is missing. pools=pools.yaml, field=pools[m7i]."),
        ("[]", "at least one pool is needed. pools=pools.yaml, field=pools"),
        ("pools: []", "at least one pool is needed"),
        ("{}", "required field is missing"),
        ("", "a mapping with `pools` is needed"),
        ("- 1", "a mapping is needed. pools=pools.yaml, field=pools[0], value=1"),
        ("pools: 2024-13-45", "not YAML or JSON"),
        (f"pools: {'9' * 5000}", "not YAML or JSON"),
        ("[" * 9000, "not YAML or JSON"),
        (FILE.replace("usd_h: 0.39", "usd_h: 1\n    usd_h: 2"), "line 10: 'usd_h' is there twice"),
        (FILE + "pools: []", "'pools' is there twice"),
        (pool(vcpu=True), "must be a number. pools=pools.yaml, field=pools[m7i].vcpu, value=True"),
        (FILE.replace("0.39", "yes"), "must be a number"),
        (pool(max_nodes=True), "must be a number"),
        ("a: [1", "not YAML or JSON. pools=pools.yaml, value=line 1"),
        (FILE.replace("m7i-spot", "m7i"), "two pools have the same name: 'm7i'"),
        (FILE.replace("0.02", ".nan"), "field=egress_usd_gb.us-east-1.us-west-2"),
        (FILE.replace("data_location", "data_locaton"), "did you mean 'data_location'?"),
    ],
)
def test_bad_files_are_refused_with_the_field_and_the_value(text: str, said: str) -> None:
    assert said in refused(text)


def test_this_machine_is_there_at_once() -> None:
    (here,) = local_pools(8, 2**35).pools

    assert (here.name, here.vcpu, here.memory, here.max_nodes) == ("local", 8.0, 2**35, 1)
    assert here.provision_s == here.boot_s == 0.0


def test_data_is_where_the_first_pool_is_unless_it_is_said() -> None:
    assert parse_pools(pool(location="eu"), "p").source == "eu"
    assert PoolsSpec(pools=local_pools(1, 2**30).pools).source == ""


@pytest.mark.parametrize(
    "fields",
    [
        {"usd_h": 1e300},
        {"speed": 1e-300},
        {"speed": 1e300},
        {"vcpu": 1e-300},
        {"memory": 1 << 60},
        {"net_gbps": 1e-300},
        {"provision_s": 1e300},
        {"bill_s": 1e-300},
        {"min_bill_s": 1e300},
        {"max_nodes": 10**20},
        {"spot": {"reclaims_per_h": 1, "outage_s": 1e300}},
        {"spot": {"reclaims_per_h": 1e9}},
    ],
)
def test_what_no_machine_has_is_refused(fields: dict[str, object]) -> None:
    assert "than or equal to" in refused(pool(**fields))


def test_what_no_network_costs_is_refused() -> None:
    assert "less than or equal" in refused(FILE.replace("0.02", "1e+300"))
    assert "greater than or equal" in refused(FILE + "wan_gbps: 1.0e-300")


def test_keys_of_a_mapping_that_is_merged_may_be_said_anew() -> None:
    text = """
pools:
  - &base {name: a, vcpu: 2, memory: 4 GiB, usd_h: 1}
  - &next {<<: *base, name: b, usd_h: 2}
  - {<<: *next, name: c}
"""
    assert [each.usd_h for each in parse_pools(text, "").pools] == [1.0, 2.0, 2.0]

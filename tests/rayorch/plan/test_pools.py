"""A file of pools: what it may say, and how it is refused."""

import json

import pytest

from rayorch.errors import PoolsError
from rayorch.plan.pools import PoolsSpec, local_pools, parse_pools, pool_of

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
        (pool(vcpu=0), "greater than 0"),
        (pool(max_nodes=0), "field=pools[m7i].max_nodes, value=0"),
        (pool(memory="64 Gigs"), "field=pools[m7i].memory"),
        (pool(name="a/b"), "a name holds letters"),
        ('[{"name": "m7i"}]', "required field is missing. pools=pools.yaml, field=pools[m7i]."),
        ("[]", "field=pools"),
        ("pools: []", "field=pools"),
        ("{}", "required field is missing"),
        ("", "a mapping with `pools` is needed"),
        ("- 1", "field=pools[0]"),
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

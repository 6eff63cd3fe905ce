"""What a run is to keep to, as it is kept under the home and read again."""

from datetime import timedelta

from rayorch.plan.asking import Asked
from rayorch.plan.placing import prices_of
from rayorch.plan.pool_files import parse_pools
from rayorch.spec.objective import Deadline

POOLS = parse_pools("pools: [{name: m, vcpu: 2, memory: 4 GiB, usd_h: 1.0}]", "pools.yaml")


def test_what_is_kept_is_read_as_it_was() -> None:
    asked = Asked(pools=POOLS, file="pools.yaml", objective=Deadline(timedelta(hours=1)))

    assert Asked.model_validate(asked.document()) == asked


def test_what_nobody_said_of_a_pool_is_not_said_by_being_kept() -> None:
    """Or a node would be billed for a minute at least because that is what plans assume."""
    read = Asked.model_validate(Asked(pools=POOLS).document())

    assert read.pools is not None
    (price,) = prices_of(read.pools)
    assert (price.bill_s, price.min_bill_s) == (0.0, 0.0)

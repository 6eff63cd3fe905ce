"""Node time is paid for once, to the billionth, by those who used the node."""

import random
from typing import Final

import msgspec
import pytest

from rayorch.core.accounts import (
    DAY_S,
    DAYS_KEPT_MAX,
    EARLIER,
    NANO,
    USED_MAX,
    Accounts,
    close_all,
    enter,
    whole,
)
from rayorch.core.placed import NodeWindow, Paid
from rayorch.ids import NodeId, RunId

A, B = RunId("a"), RunId("b")
NODE = NodeId("n1")
HOUR_S: Final = 3600.0


class Home:
    """Accounts, and what each run paid."""

    def __init__(self, *runs: RunId) -> None:
        self.accounts = Accounts()
        self.paid: dict[RunId, dict[str, dict[int, Paid]]] = {run: {} for run in runs}

    def enter(
        self, from_s: float, to_s: float, usd_h: float | None = 3.6, **fields: object
    ) -> None:
        window = NodeWindow(NODE, "spot", 4.0, from_s, to_s, usd_h)
        enter(self.accounts, self.paid, msgspec.structs.replace(window, **fields))

    def usd(self, run: RunId) -> float:
        return whole(self.paid[run].get("spot", {})).nano_usd / NANO

    def unassigned_usd(self) -> float:
        return whole(self.accounts.unassigned.get("spot", {})).nano_usd / NANO

    def billed_usd(self) -> float:
        return self.accounts.billed["spot"].nano_usd / NANO


def test_who_used_a_node_pays_for_it_and_the_rest_is_nobodys() -> None:
    home = Home(A, B)
    home.enter(-8.0, 0.0, used=((A, 6.0), (B, 2.0)))
    home.enter(0.0, 100.0, used=((A, 54.0), (B, 18.0)))

    # 3.6 dollars an hour are a tenth of a cent a second.
    assert (home.usd(A), home.usd(B)) == (0.06, 0.02)
    assert home.unassigned_usd() == 0.028
    assert home.billed_usd() == 0.108
    assert whole(home.paid[A]["spot"]).core_s == pytest.approx(240.0)


def test_the_start_of_a_node_is_paid_by_its_first_users() -> None:
    home = Home(A, B)
    home.enter(0.0, 70.0)
    assert home.unassigned_usd() == 0.0

    home.enter(70.0, 85.0, used=((A, 7.5), (B, 2.5)))

    assert [home.usd(A), home.usd(B)] == pytest.approx([0.06375, 0.02125])


def test_a_node_that_nobody_came_for_is_nobodys() -> None:
    home = Home(A)
    home.enter(0.0, 75.0)
    home.enter(75.0, 75.0, closed=True)

    assert home.unassigned_usd() == 0.075
    assert home.accounts.nodes == {}


def test_what_is_billed_beyond_the_end_is_shared_by_all_that_used_the_node() -> None:
    """A quarter of an hour, billed by the hour: three quarters more, by what each had used."""
    home = Home(A, B)
    home.enter(0.0, 600.0, bill_s=HOUR_S, used=((A, 600.0),))
    home.enter(600.0, 900.0, bill_s=HOUR_S, used=((B, 300.0),), closed=True)

    assert home.billed_usd() == 3.6
    assert [home.usd(A), home.usd(B)] == pytest.approx([2.4, 1.2])


def test_a_node_is_billed_for_its_least_time() -> None:
    home = Home(A)
    home.enter(0.0, 10.0, min_bill_s=60.0, used=((A, 10.0),), closed=True)

    assert home.usd(A) == 0.06


def test_a_second_that_is_told_twice_is_paid_once() -> None:
    home = Home(A, B)
    home.enter(0.0, 60.0, used=((A, 60.0),))
    home.enter(0.0, 60.0, used=((A, 60.0),))
    home.enter(30.0, 90.0, used=((B, 60.0),))

    assert (home.usd(A), home.usd(B)) == (0.06, 0.03)
    assert home.billed_usd() == 0.09


def test_time_without_a_price_is_counted_and_costs_nothing_that_is_known() -> None:
    home = Home(A)
    home.enter(0.0, 50.0, None, used=((A, 50.0),))

    paid = whole(home.paid[A]["spot"])
    assert (paid.nano_usd, paid.core_s, paid.unpriced_core_s) == (0, 200.0, 200.0)


def test_a_run_that_is_not_known_pays_nothing() -> None:
    home = Home(A)
    home.enter(0.0, 10.0, used=((A, 5.0),))
    home.enter(10.0, 20.0, used=((RunId("gone"), 10.0),))

    assert home.unassigned_usd() == pytest.approx(0.01)


def test_what_nobody_paid_for_is_kept_for_so_many_days() -> None:
    home = Home(A)
    home.enter(0.0, 1.0, used=((A, 1.0),))
    for day in range(1, DAYS_KEPT_MAX + 50):
        home.enter(day * DAY_S, day * DAY_S + 1.0)
    days = home.accounts.unassigned["spot"]

    assert len(days) == DAYS_KEPT_MAX
    assert days[EARLIER].nano_usd == 50 * 1_000_000
    assert home.billed_usd() == pytest.approx(home.usd(A) + home.unassigned_usd())


def test_an_account_remembers_so_many_users() -> None:
    runs = [RunId(f"run-{number}") for number in range(USED_MAX + 20)]
    home = Home(*runs)
    for number, run in enumerate(runs):
        home.enter(number * 1.0, number + 1.0, used=((run, 1.0),))

    assert list(home.accounts.nodes[NODE].used) == runs[20:]


@pytest.mark.parametrize("seed", range(200))
def test_what_runs_and_nobody_pay_is_what_nodes_cost_whatever_happens(seed: int) -> None:
    """Random nodes, prices, users, crashes and repetitions: the sum holds to the billionth."""
    luck = random.Random(seed)
    runs = [RunId(f"run-{number}") for number in range(luck.randint(1, 5))]
    paid: dict[RunId, dict[str, dict[int, Paid]]] = {run: {} for run in runs}
    accounts = Accounts()
    now_s = {f"node-{number}": luck.uniform(0.0, 1e6) for number in range(luck.randint(1, 6))}
    last: list[NodeWindow] = []
    for _ in range(120):
        node = luck.choice(list(now_s))
        span_s = luck.choice([0.0, luck.expovariate(0.02), 1e5 * luck.random()])
        seconds, left_s = [], span_s
        for run in luck.sample(runs, luck.randint(0, len(runs))):
            part_s = luck.choice([left_s, left_s * luck.random()])
            seconds.append((run, part_s))
            left_s -= part_s
        window = NodeWindow(
            node=NodeId(node),
            pool=f"pool-{hash_of(node) % 2}",
            cores=float(2 + hash_of(node) % 3),
            from_s=now_s[node],
            to_s=now_s[node] + span_s,
            usd_h=luck.choice([None, 0.0371, 4.2, luck.random()]),
            bill_s=luck.choice([1.0, 60.0, HOUR_S]),
            min_bill_s=luck.choice([0.0, 60.0]),
            used=tuple(seconds),
            closed=luck.random() < 0.1,
        )
        now_s[node] += span_s
        last.append(window)
        enter(accounts, paid, window)
        if luck.random() < 0.1:
            same = [each for each in last if each.node == node and not each.closed]
            enter(accounts, paid, luck.choice(same or [window]))
        if luck.random() < 0.02:
            close_all(accounts, paid)
        assert_sums(accounts, paid)
    close_all(accounts, paid)
    assert_sums(accounts, paid)
    assert accounts.nodes == {}


def hash_of(node: str) -> int:
    return int(node.rpartition("-")[2])


def assert_sums(accounts: Accounts, paid: dict[RunId, dict[str, dict[int, Paid]]]) -> None:
    for pool, billed in accounts.billed.items():
        total = whole(accounts.unassigned.get(pool, {}))
        for account in accounts.nodes.values():
            if account.pool == pool:
                total.add(account.early)
        for pools in paid.values():
            total.add(whole(pools.get(pool, {})))
        assert total.nano_usd == billed.nano_usd
        assert total.core_s == pytest.approx(billed.core_s)
        assert total.unpriced_core_s == pytest.approx(billed.unpriced_core_s)
        assert total.nano_usd >= 0

"""A price book: what it adds to pools, and how it is refused."""

from pathlib import Path

import pytest

from rayorch.errors import PoolsError
from rayorch.plan.machines import Described
from rayorch.plan.pool_files import PoolFile, read_pool_file
from rayorch.plan.prices import parse_prices
from tests.rayorch.plan.test_cluster_file import FILE

BOOK = """
source: list prices of May
prices:
  - {type: m7i.4xlarge, region: us-east-1, market: on-demand, usd_h: 0.8064}
  - {type: m7a.4xlarge, region: us-east-1, market: spot, usd_h: 0.37, reclaims_per_h: 0.3}
  - {type: m7a.4xlarge, region: us-east-1, market: on-demand, usd_h: 0.93}
  - {type: m7a.4xlarge, vcpu: 99, memory: 64 GiB, speed: 2.0, bill_s: 60, boot_s: 75}
  - {pool: spot, boot_s: 40, source: measured in June}
egress_usd_gb: {us-east-1: {us-west-2: 0.02}}
get_usd: 4.0e-7
"""


def read(tmp_path: Path, book: str, text: str = FILE) -> PoolFile:
    (tmp_path / "prices.yaml").write_text(book)
    (tmp_path / "cluster.yaml").write_text(text)
    return read_pool_file(str(tmp_path / "cluster.yaml"), str(tmp_path / "prices.yaml"))


def refused(tmp_path: Path, book: str, text: str = FILE) -> str:
    with pytest.raises(PoolsError) as caught:
        read(tmp_path, book, text)
    return str(caught.value).replace(f"{tmp_path}/", "")


def spot_of(file: PoolFile) -> Described:
    return next(each for each in file.described if each.spec.name == "spot")


def test_a_book_says_what_labels_do_not(tmp_path: Path) -> None:
    file = read(tmp_path, BOOK)

    assert file.spec.is_priced
    spot = spot_of(file)
    assert spot.spec.usd_h == 0.37
    assert spot.spec.spot is not None
    assert spot.spec.spot.reclaims_per_h == 0.3
    assert (spot.spec.memory, spot.spec.bill_s) == (64 << 30, 60.0)
    # What the file says goes before what the book says of all machines of a type.
    assert (spot.spec.vcpu, spot.spec.speed) == (16.0, 1.35)
    # And an entry that names more goes before one that names less.
    assert spot.spec.boot_s == 40.0
    assert spot.facts["boot_s"].source.endswith("prices.yaml: measured in June")
    assert spot.facts["usd_h"].source.endswith("prices.yaml: list prices of May")
    assert spot.unknown == ("zone", "min_bill_s", "provision_s", "outage_s", "net_gbps")
    assert file.spec.get_usd == 4e-7
    assert file.spec.network().egress_usd_gb == {("us-east-1", "us-west-2"): 0.02}


def test_a_file_may_name_the_book_that_lies_beside_it(tmp_path: Path) -> None:
    text = FILE + "metadata: {rayorch: {prices: prices.yaml}}\n"
    read(tmp_path, BOOK, text)

    file = read_pool_file(str(tmp_path / "cluster.yaml"))

    assert file.spec.is_priced
    assert file.prices == str(tmp_path / "prices.yaml")


def test_a_cluster_file_that_went_without_its_price_book_says_so(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(FILE + "metadata: {rayorch: {prices: deploy/prices.yaml}}\n")

    with pytest.raises(PoolsError) as caught:
        read_pool_file(str(path))

    assert str(caught.value).startswith(
        "its price book is not there: bring it along, or name one with --prices. "
        f"pools={path}, field=metadata.rayorch.prices, value=deploy/prices.yaml"
    )


def test_a_file_of_pools_takes_a_book_too(tmp_path: Path) -> None:
    book = "- {pool: a, usd_h: 2}\n- {pool: b, market: spot, usd_h: 1, outage_s: 60}"
    text = """
- {name: a, vcpu: 2, memory: 4 GiB}
- {name: b, vcpu: 2, memory: 4 GiB, spot: {reclaims_per_h: 1}, boot_s: 5}
"""
    a, b = read(tmp_path, book, text).spec.pools

    assert (a.usd_h, b.usd_h, b.boot_s) == (2.0, 1.0, 5.0)
    assert b.spot is not None
    assert (b.spot.reclaims_per_h, b.spot.outage_s) == (1.0, 60.0)


def test_a_price_that_label_and_book_say_differently_is_refused(tmp_path: Path) -> None:
    said = refused(tmp_path, BOOK.replace("0.8064", "0.9"))

    assert said == (
        "label of node type steady says 0.8064 USD an hour, the price book prices.yaml says 0.9; "
        "leave one of them out. pools=cluster.yaml, field=node type steady"
    )


def test_an_entry_for_a_pool_that_is_not_there_is_refused(tmp_path: Path) -> None:
    said = refused(tmp_path, BOOK.replace("pool: spot", "pool: spott"))

    assert "an entry names a pool that is not there; did you mean 'spot'?" in said


def test_entries_that_name_as_much_and_differ_are_refused(tmp_path: Path) -> None:
    book = "- {pool: spot, region: us-east-1, boot_s: 1}\n- {pool: spot, market: spot, boot_s: 2}"

    assert "two entries say different things of type m7a.4xlarge" in refused(tmp_path, book)


def test_a_book_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text(FILE)

    with pytest.raises(PoolsError, match=r"cannot be read: no such file.*none\.yaml"):
        read_pool_file(str(tmp_path / "cluster.yaml"), str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {usd_h: 1}", "an entry must name its machines by one of: type, region, market, pool"),
        ("- {type: m7i.4xlarge, usd_h: 1}", "a price needs `type` and `market`"),
        ("- {market: spot, usd_h: 1}", "a price needs `type` and `market`"),
        ("- {pool: a, usd_h: -1}", "field=prices[0].usd_h, value=-1"),
        ("- {pool: a, usd_hour: 1}", "unknown field; did you mean 'usd_h'?"),
        ("- {pool: a, market: Spot}", "field=prices[0].market, value='Spot'"),
        ("- {pool: a, boot_s: 1}\n- {pool: a, boot_s: 2}", "boot_s of pool a is there twice"),
        ("price: []", "unknown field; did you mean 'prices'?"),
        ("1", "a mapping with `prices` is needed"),
        ("a: [1", "not YAML or JSON"),
    ],
)
def test_bad_books_are_refused_with_the_field_and_the_value(text: str, said: str) -> None:
    with pytest.raises(PoolsError) as caught:
        parse_prices(text, "prices.yaml")

    assert said in str(caught.value)

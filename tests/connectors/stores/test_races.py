"""Exclusive create between processes. Slower than a unit test: it starts real ones."""

from pathlib import Path

import pytest

from connectors.store import open_store
from tests.connectors.stores.racing import winners_of_races
from tests.s3_server import S3Server

pytestmark = pytest.mark.e2e


def assert_one_winner_each(url: str, rounds: int, at_once: int = 1) -> None:
    races = winners_of_races(url, rounds, {}, at_once)

    store = open_store(url)
    assert [len(winners) for winners in races] == [1] * rounds
    held = [store.get(info.key).decode() for info in store.list("race/")]
    assert held == [winners[0] for winners in races]


def test_of_sixteen_contenders_for_a_file_one_wins(tmp_path: Path) -> None:
    assert_one_winner_each(str(tmp_path), rounds=100)


def test_of_sixteen_contenders_for_an_s3_object_one_wins(s3: S3Server, fresh_name: str) -> None:
    """One round: this server lets losers of a race wait for a second and more."""
    assert_one_winner_each(f"{s3.url}/{fresh_name}", rounds=1)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_of_sixteen_contenders_for_each_of_200_s3_objects_one_wins(
    s3: S3Server, fresh_name: str
) -> None:
    """Ten races at a time: one after the other, the waiting would take most of an hour."""
    assert_one_winner_each(f"{s3.url}/{fresh_name}", rounds=200, at_once=10)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_of_sixteen_contenders_for_each_of_200_azure_blobs_one_wins(
    az: str, fresh_name: str
) -> None:
    assert_one_winner_each(f"{az}/{fresh_name}", rounds=200, at_once=4)

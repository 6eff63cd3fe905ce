"""What lies under a home: kept as it was given, and found again."""

import threading
from pathlib import Path

import pytest

from connectors.errors import ObjectDamagedError, ObjectMissingError, StoreUnsureError
from connectors.splits import FilePart, Split
from connectors.stores.memory import MemoryStore
from rayorch.home import (
    IDENTITY,
    Home,
    RunPlan,
    StagePlan,
    decode_split,
    encode_split,
    open_home,
)
from rayorch.ids import RunId
from rayorch.sim.store import Mishap, UnsureStore
from tests.rayorch.runner import make

RUN = RunId("nightly-1")


@pytest.fixture
def home(request: pytest.FixtureRequest) -> Home:
    return Home(MemoryStore(f"home-{request.node.name}"))


def test_a_home_names_itself_once_and_for_good(home: Home) -> None:
    """Tables remember publications by it: another name would publish a run a second time."""
    first = home.identity()

    assert first
    assert Home(home.store).identity() == first
    assert home.store.head(IDENTITY) is not None


def test_of_two_processes_that_name_a_home_at_once_both_use_one_name(home: Home) -> None:
    names: list[str] = []
    begin = threading.Barrier(8)

    def name() -> None:
        begin.wait()
        names.append(Home(home.store).identity())

    threads = [threading.Thread(target=name) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(names)) == 1


def test_a_split_travels_unchanged() -> None:
    part = FilePart(
        key="a b/ü.parquet", size_bytes=9, version="v", rows=3, row_groups=(0, 2), values={"d": "1"}
    )
    split = Split(parts=(part,), rows=3, size_bytes=9)

    assert decode_split(encode_split(split)) == split


def test_a_plan_is_found_as_it_was_put(home: Home) -> None:
    planned = make.planned(make.stage("range://40?splits=4"))
    stage = planned.home.get_plan(make.RUN).stages[0]
    plan = RunPlan((stage, StagePlan(stage.discovery, stage.splits[:1])))

    home.put_plan(RUN, plan)

    assert home.get_plan(RUN) == plan
    assert plan.split_of() == [*stage.splits, stage.splits[0]]


def test_of_two_plans_of_a_run_the_first_holds(home: Home) -> None:
    """Tasks are numbered by it."""
    planned = make.planned(make.stage("range://40?splits=4"))
    stage = planned.home.get_plan(make.RUN).stages[0]
    first, second = RunPlan((stage,)), RunPlan((stage, stage))

    assert home.put_plan(RUN, first) == first
    assert home.put_plan(RUN, second) == first
    assert home.get_plan(RUN) == first


@pytest.mark.parametrize("mishap", ["request lost", "reply lost", "late"])
def test_what_is_created_once_is_found_though_the_store_was_unsure(
    home: Home, mishap: Mishap
) -> None:
    unlucky = [mishap, mishap]
    unsure = Home(UnsureStore(home.store, lambda _: unlucky.pop() if unlucky else None))

    name = unsure.identity()

    assert home.identity() == name
    assert unlucky == []


def test_a_store_that_stays_unsure_is_told_of(home: Home) -> None:
    unsure = Home(UnsureStore(home.store, lambda _: "request lost"))

    with pytest.raises(StoreUnsureError):
        unsure.identity()


def test_programs_are_kept_by_version(home: Home) -> None:
    home.put_program(RUN, "v1", b"one")
    home.put_program(RUN, "v2", b"two")

    assert home.get_program(RUN, "v1") == b"one"
    assert home.get_program(RUN, "v2") == b"two"


def test_any_flipped_bit_of_a_program_is_found_and_one_of_an_earlier_version_is_read(
    home: Home,
) -> None:
    home.put_program(RUN, "v1", b"one")
    key = f"runs/{RUN}/program-v1.pkl"
    kept = home.store.get(key)

    for bit in range(len(b"one") * 8):
        hurt = bytearray(kept)
        hurt[bit // 8] ^= 1 << bit % 8
        home.store.put(key, bytes(hurt))
        with pytest.raises(ObjectDamagedError, match=f"`rayorch fsck` says .* key={key}"):
            home.get_program(RUN, "v1")
    home.store.put(key, b"one")

    assert home.get_program(RUN, "v1") == b"one"


def test_documents_are_readable_by_people(home: Home) -> None:
    home.put_json(RUN, "origin", {"file": "nightly.py", "days": [1, 2]})

    assert home.get_json(RUN, "origin") == {"file": "nightly.py", "days": [1, 2]}
    assert home.store.get(f"runs/{RUN}/origin.json").count(b"\n") > 2


def test_what_is_not_there_is_missing(home: Home) -> None:
    with pytest.raises(ObjectMissingError):
        home.get_plan(RUN)
    with pytest.raises(ObjectMissingError):
        home.get_program(RUN, "v1")
    with pytest.raises(ObjectMissingError):
        home.get_json(RUN, "origin")


def test_what_can_be_made_again_is_not_waited_for(tmp_path: Path) -> None:
    home = open_home(tmp_path.as_uri())

    home.scratch.put("runs/a/exchange/1/x", b"rows")

    assert not home.scratch.promises.durable
    assert home.store.get("runs/a/exchange/1/x") == b"rows"


def test_opening_a_home_creates_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "a home"
    home = open_home(folder.as_uri())

    with pytest.raises(ObjectMissingError):
        home.get_plan(RUN)
    assert home.store.promises.durable
    assert list(home.store.list()) == []
    assert not folder.exists()

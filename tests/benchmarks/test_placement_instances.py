from pathlib import Path

import pytest

from benchmarks import placement_instances
from benchmarks.judge_format import problem_from
from placement.tables import tables_of


@pytest.mark.parametrize("family", placement_instances.FAMILIES)
@pytest.mark.parametrize("seed", range(3))
def test_every_task_of_a_problem_fits_somewhere_on_demand(family: str, seed: int) -> None:
    problem = problem_from(placement_instances.instance(family, seed=seed))

    fits = tables_of(problem).fits

    calm = [k for k, pool in enumerate(problem.pools) if pool.spot is None]
    assert fits[:, calm].any(axis=1).all()


def test_a_traced_problem_has_pools_that_come_and_go_as_a_trace_says() -> None:
    problem = problem_from(placement_instances.instance("etl", seed=0, is_traced=True))

    spots = [pool.spot for pool in problem.pools if pool.spot is not None]
    assert spots
    assert all(0 < sum(spot.trace_up) < len(spot.trace_up) for spot in spots)


def test_the_same_seed_writes_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        placement_instances, "FAMILIES", {"hourly": placement_instances.FAMILIES["hourly"]}
    )
    one, two = tmp_path / "one", tmp_path / "two"

    for folder in (one, two):
        placement_instances.main(["--out", str(folder), "--seed", "5"])

    names = sorted(path.name for path in one.iterdir())
    assert names == ["hourly-5.a1.25.json", "hourly-5.a2.5.json"]
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)

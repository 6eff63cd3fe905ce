from pathlib import Path

import pytest

from benchmarks.driver import SideFailedError, SideOutOfMemoryError
from benchmarks.jobs import Job
from benchmarks.peers import KNOWN, PEERS_USUAL, Side, peer_sides
from benchmarks.session import Options, Session, Target, Work, alternate, checked, printed
from benchmarks.suite import Asked, guarded
from benchmarks.workloads.table import WORKLOADS
from rayorch.bench.results import FailureLine, Measured, Results


def test_quick_is_one_small_run_of_each_side() -> None:
    quick, usual = Asked(quick=True).options, Asked().options

    assert (quick.runs, quick.scale) == (1, 0.05)
    assert (usual.runs, usual.scale) == (5, 1.0)
    assert usual.peers == PEERS_USUAL


def test_quick_is_of_the_workloads_that_say_most_and_gives_slow_sides_up_early() -> None:
    quick, whole = Asked(quick=True), Asked()

    assert set(quick.workloads) < set(whole.workloads) == set(WORKLOADS)
    assert Asked(quick=True, only=("tiny",)).workloads == ("tiny",)
    assert quick.options.run_s_max < whole.options.run_s_max


def test_what_is_said_goes_before_what_is_usual() -> None:
    asked = Asked(quick=True, runs=3, scale=0.5).options

    assert (asked.runs, asked.scale) == (3, 0.5)


def test_what_was_asked_for_is_kept_beside_the_results() -> None:
    described = Asked(peers=("duckdb",), scale=2.0).options.described(["scan", "group"])

    assert described == {
        "workloads": "scan,group",
        "peers": "duckdb",
        "runs": "5",
        "slots": "2",
        "scale": "2",
        "quick": "false",
    }


def test_each_peer_is_a_side_of_its_own_name() -> None:
    assert [side.label for side in peer_sides("scan", list(KNOWN))] == list(KNOWN)


def test_a_peer_that_is_not_installed_is_skipped_and_said() -> None:
    session = Session(Options(runs=2), Results(None))
    missing = Side(label="spark", module="spark", kind="scan", library="no-such-library")

    alternate(session, Work(name="scan"), [missing])

    why = "no-such-library is not installed: pip install 'rayorch[bench]'"
    assert session.results.lines == [FailureLine("scan", "spark", why, "skipped")]


def test_a_workload_that_fails_is_said_and_the_next_ones_go_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    session = Session(Options(), Results(None))

    def broken(_: Session) -> None:
        raise ValueError("no such figure")

    def full(_: Session) -> None:
        raise SideOutOfMemoryError("killed")

    guarded(session, "scan", broken)
    guarded(session, "group", full)
    guarded(session, "sort", lambda session: session.figure("sort", "rows", [1.0]))

    assert session.results.failures() == [
        FailureLine("scan", "rayorch", "ValueError: no such figure"),
        FailureLine("group", "rayorch", "killed", "memory"),
    ]
    assert [figure.workload for figure in session.results.figures()] == ["sort"]
    assert "Traceback" in capsys.readouterr().err


def test_a_benchmark_that_fails_in_its_process_says_what_it_wrote() -> None:
    said = r"(?s)ended with code 2: .*invalid int value: 'many'"

    with pytest.raises(SideFailedError, match=said):
        printed("core_events", dict, "--tasks", "many")


def test_a_ray_that_does_not_start_fails_its_sides_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What needs no Ray is measured all the same."""
    monkeypatch.setattr("benchmarks.cluster.PORTS", range(0))

    with Session(Options(runs=1, scale=0.01), Results(None), tmp_path) as session:
        alternate(session, Work(name="scan"), peer_sides("scan", ["ray-data"]))

    [failure] = session.results.failures()
    assert (failure.side, failure.kind) == ("ray-data", "failed")
    assert failure.why == "no free port. ports=range(0, 0)"


def test_a_target_that_speaks_of_a_size_is_none_at_another(tmp_path: Path) -> None:
    """What passes with a twentieth of the tasks says nothing of all of them."""

    def verdicts(scale: float) -> list[str]:
        options = Options(scale=scale)
        session = Session(options, Results(None), tmp_path)
        session.figure("scale", "CPU a task", [1.1], Target(limit=options.at_full(1.3)))
        assert len(session.results.figures()) == 1
        return [check.verdict for check in session.results.checks()]

    assert verdicts(0.05) == []
    assert verdicts(1.0) == ["pass"]


def test_what_a_side_counted_is_held_against_what_it_should_be() -> None:
    session, work = Session(Options(), Results(None)), Work(name="pareto", counted=7)
    [side] = peer_sides("pareto", ["pool"])

    def seconds(counted: int) -> float:
        measured = Measured(1.0, 1.0, {"counted": counted})
        return checked(session, measured, work, side, Job("pareto")).wall_s

    assert seconds(7) == 1.0
    with pytest.raises(SideFailedError, match="what it counted is wrong: 8, not 7"):
        seconds(8)

from benchmarks.session import (
    KNOWN,
    PEERS_USUAL,
    Options,
    Session,
    Side,
    Work,
    alternate,
    peer_sides,
)
from benchmarks.suite import Asked
from rayorch.bench.results import FailureLine, Results


def test_quick_is_one_small_run_of_each_side() -> None:
    quick, usual = Asked(quick=True).options, Asked().options

    assert (quick.runs, quick.scale) == (1, 0.05)
    assert (usual.runs, usual.scale) == (5, 1.0)
    assert usual.peers == PEERS_USUAL


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

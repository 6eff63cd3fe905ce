"""`doctor` finds what would keep a run from working, and says what to do."""

import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from connectors.store import Promises
from connectors.stores.memory import MemoryStore
from rayorch.cli import doctor
from rayorch.clock import SystemClock
from rayorch.home import open_home
from rayorch.host import health_checks
from rayorch.host.leader import Leader, sign
from tests.greeting_server import served
from tests.rayorch.cli.conftest import Shell


def findings(shell: Shell, *arguments: str) -> tuple[int, dict[str, tuple[str, str, str]]]:
    said = shell("doctor", "--json", *arguments)
    found = said.document["findings"]
    return said.code, {
        each["check"]: (each["status"], each["found"], each["fix"]) for each in found
    }


def test_a_machine_that_can_run_passes(shell: Shell) -> None:
    code, found = findings(shell)

    assert code == 0
    assert {status for status, _, _ in found.values()} <= {"ok", "warn"}
    assert found["home"][1] == "file://FOLDER/home can be written and read"
    assert found["race"][1].startswith("one winner for each key")
    assert found["journal"][1] == "0 runs, 0 active"


def test_what_is_found_is_printed_a_line_each(shell: Shell) -> None:
    said = shell("doctor")

    assert said.code == 0
    assert "ok    home           file://FOLDER/home can be written and read" in said.out


def test_a_home_that_cannot_be_written_fails_with_what_to_do(shell: Shell) -> None:
    Path("home").write_text("in the way")

    said = shell("doctor")

    assert said.code == 1
    assert "FAIL  home" in said.out
    assert said.err == "1 thing to mend before a run can work\n"


def test_a_home_in_memory_is_a_warning(shell: Shell) -> None:
    code, found = findings(shell, "--home", "memory://doctor")

    assert code == 0
    assert found["durable"][0] == "warn"


def test_a_cluster_that_does_not_answer_fails(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")

    code, found = findings(shell)

    assert code == 1
    assert found["RAY_ADDRESS"][0] == "fail"
    assert found["RAY_ADDRESS"][2].startswith("`ray status`, on its head, says whether it is up")


def test_a_cluster_that_answers_passes_and_what_it_does_not_say_is_told(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_checks, "LOOK_S_MAX", 0.1)
    with served() as address:
        monkeypatch.setenv("RAY_ADDRESS", address)

        code, found = findings(shell)

    assert code == 0
    assert found["RAY_ADDRESS"][0] == "ok"
    status, why, fix = found["health checks"]
    assert (status, "no answer within 0.1 s" in why) == ("warn", True)
    assert "RAY_health_check_period_ms=2000" in fix


@pytest.mark.parametrize(
    ("told", "dead", "silent"),
    [
        (health_checks.OURS, 3, 33),
        (health_checks.WANTED, 6, 21),
        ({"health_check_failure_threshold": 2}, 6, 26),
    ],
    ids=["ours", "wanted", "fewer tries"],
)
def test_health_checks_that_find_a_dead_machine_in_time_pass(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, told: Mapping[str, int], dead: int, silent: int
) -> None:
    found = checked_with(shell, monkeypatch, told)

    assert found[0] == "ok"
    assert found[1] == f"a dead machine is given up after {dead} s, a silent one after {silent} s"


def test_health_checks_of_rays_own_are_a_warning_with_what_they_cost(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, said, fix = checked_with(shell, monkeypatch, {"health_check_timeout_ms": 5000})

    assert status == "warn"
    assert said == "a dead machine is given up after 15 s, a silent one after 40 s"
    assert fix == (
        "a control actor, or a runner, on it goes on elsewhere 9 s later than it could: "
        "start the head with\n"
        "RAY_health_check_initial_delay_ms=1000 RAY_health_check_period_ms=2000 "
        "RAY_health_check_failure_threshold=3"
    )


def checked_with(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, told: Mapping[str, int]
) -> tuple[str, str, str]:
    """Return what is found of a cluster whose head was told so much."""
    monkeypatch.setattr(health_checks, "head_settings", lambda _address: told)
    with served() as address:
        monkeypatch.setenv("RAY_ADDRESS", address)
        _, found = findings(shell)
    return found["health checks"]


def test_a_disk_that_is_nearly_full_is_told(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "DISK_BYTES_MIN", 1 << 60)

    code, found = findings(shell)

    assert code == 1
    assert found["home disk"][0] == "fail"
    assert found["home disk"][2] == "free some space there"


def test_a_leader_is_named_with_where_its_metrics_are(shell: Shell) -> None:
    home = open_home(f"file://{shell.folder}/home")
    url = "http://127.0.0.1:9123/metrics"
    leader = Leader("control", "elsewhere", 7, SystemClock().now_s(), "nightly-1", url)
    sign(home, leader)

    code, found = findings(shell)

    assert code == 0
    assert found["leader"][1] == "control, pid 7 on elsewhere is at work on nightly-1"
    assert found["metrics"][1] == "http://127.0.0.1:9123/metrics (Prometheus, on elsewhere)"


def test_a_damaged_journal_fails(shell: Shell) -> None:
    shell("run", "nightly.py")
    first = min((shell.folder / "home" / "journal" / "log").rglob("*"))
    first.write_bytes(b"not what was written")

    code, found = findings(shell)

    assert code == 1
    assert found["journal"][0] == "fail"
    assert "damaged" in found["journal"][1]
    assert found["journal"][2] == "`rayorch fsck` says what is lost and what can be mended"


def test_a_command_on_a_damaged_journal_says_what_to_do_next(shell: Shell) -> None:
    shell("run", "nightly.py")
    first = min((shell.folder / "home" / "journal" / "log").rglob("*"))
    first.write_bytes(b"not what was written")

    said = shell("runs")

    assert said.code == 1
    error, advice = said.err.splitlines()
    assert error.startswith("error: the journal is damaged: ")
    assert "`rayorch fsck HOME --repair` mends what can be" in advice


def test_what_the_store_of_a_place_promises_is_probed_and_told(shell: Shell) -> None:
    said = shell("doctor", str(shell.folder / "lake"), "memory://doctor-place")

    assert said.code == 0
    assert "ok    place          file://FOLDER/lake can be written and read" in said.out
    assert "ok    place          memory://doctor-place can be written and read" in said.out
    assert said.out.count("one winner for each key") == 3
    assert said.out.count("a read sees every write and delete before it (50 looks") == 3
    assert not [path for path in (shell.folder / "lake").rglob("*") if path.is_file()]


class Lagging(MemoryStore):
    """Deletes nothing, as far as a reader can tell."""

    def delete(self, keys: Iterable[str]) -> None:
        list(keys)


def test_a_store_whose_reads_lag_is_refused_with_what_they_did_not_see() -> None:
    found = {each.check: each for each in doctor.check_place("place", Lagging("doctor-lagging"))}

    assert found["promises"].status == "fail"
    assert found["promises"].found == (
        "reads lag: a head of an object that was deleted is not of now; "
        "a list of an object that was deleted is not of now (50 looks of a second client)"
    )
    assert "keep the home on" in found["promises"].fix


def test_a_store_that_promises_less_than_was_seen_is_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = MemoryStore("doctor-modest")
    modest = Promises(exclusive_create=True, read_after_write=False, durable=True, note="")
    monkeypatch.setattr(store, "promises", modest)

    found = {each.check: each for each in doctor.check_place("place", store)}

    assert found["promises"].status == "warn"
    assert "does not promise that" in found["promises"].found
    assert found["durable"].found.endswith("as the store says: that cannot be probed")


def test_a_place_that_nothing_can_open_fails_with_its_reason(shell: Shell) -> None:
    said = shell("doctor", "s4://lake")

    assert said.code == 1
    assert "FAIL  place" in said.out
    assert "did you mean s3://" in said.out

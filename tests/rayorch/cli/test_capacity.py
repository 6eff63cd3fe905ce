"""`profile` and `capacity`: from a finished run to what it will need."""

import json
from pathlib import Path

import pytest

from rayorch.cli.options import Exit
from rayorch.plan.profile import dumped
from tests.rayorch.capacity import make
from tests.rayorch.cli.conftest import FAILING, Shell

POOLS = """
pools:
  - {name: here, vcpu: 4, memory: 16 GiB, usd_h: 0.4, speed: 1, max_nodes: 20}
  - {name: other, vcpu: 4, memory: 16 GiB, usd_h: 0.5, max_nodes: 2}
"""
QUICK = ("--scenarios", "2")


@pytest.fixture
def lab(shell: Shell) -> Shell:
    """A shell with a profile and a file of pools."""
    (shell.folder / "n.profile").write_bytes(dumped(make.profile(whole_s=21.0)))
    (shell.folder / "pools.yaml").write_text(POOLS)
    return shell


def test_a_run_is_exported_as_a_profile_without_what_is_its_own(shell: Shell) -> None:
    shell("run", "nightly.py")

    said = shell("profile", "last", "-o", "n.profile")

    text = (shell.folder / "n.profile").read_text()
    assert said.code == Exit.OK
    assert "n.profile: 1 stage, 1 task" in said.out
    kept = json.loads(text)
    assert (kept["state"], kept["stages"][0]["name"], kept["stages"][0]["measured"]) == (
        "succeeded",
        "lines",
        1,
    )
    assert kept["whole_s"] > 0.0
    for secret in (str(shell.folder), "parquet", "twice", "doubling"):
        assert secret not in text
    assert json.loads(shell("profile", "last", "--json").out) == kept


TOTALS = """
import pyarrow as pa
import rayorch as ro

totals = ro.Pipeline("totals")
lines = totals.read("lines", "FOLDER/in/*.parquet", split="file")

@totals.map(lines)
def checked(batch: pa.Table) -> pa.Table:
    CHECK
    return batch

checked.aggregate("sums", by="a", lines=("*", "count")).write("FOLDER/sums")
"""
MENDED = TOTALS.replace("CHECK", "pass")
BROKEN = TOTALS.replace(
    "CHECK", 'if batch["a"][0].as_py() == 20: raise ValueError("no such price")'
)


def test_a_run_that_failed_and_was_resumed_is_exported(shell: Shell) -> None:
    """What was kept when it failed is of a part of it."""
    shell.write(BROKEN, "totals.py")
    assert shell("run", "totals.py").code == Exit.FAILED
    shell.write(MENDED, "totals.py")
    assert shell("resume", "last", "totals.py").code == Exit.OK

    said = shell("profile", "last", "--json")

    assert said.code == Exit.OK
    found = said.document
    assert (found["state"], found["resumed"]) == ("succeeded", 1)
    assert [(stage["tasks"], stage["measured"]) for stage in found["stages"]] == [(3, 3), (1, 1)]
    (shell.folder / "n.profile").write_text(said.out)
    (shell.folder / "pools.yaml").write_text(POOLS)
    answer = shell("capacity", "n.profile", "--pools", "pools.yaml", *QUICK)
    assert answer.code == Exit.OK


def test_a_profile_by_the_journal_is_the_one_that_was_kept(shell: Shell) -> None:
    """Of a run of two stages that nothing happened to, but for what the journal does not have."""
    shell.write(MENDED, "totals.py")
    shell("run", "totals.py")
    kept = shell("profile", "last", "--json").document
    [file] = (shell.folder / "home").glob("runs/*/profile.json")
    file.unlink()

    found = shell("profile", "last", "--json").document

    assert found.pop("core_s") == pytest.approx(kept.pop("core_s"), rel=0.3)
    for each in (kept, found):
        each["overheads"].pop("start_s", None)
        each["overheads"].pop("starts", None)
        for stage in each["stages"]:
            stage.pop("overhead_s", None)
            stage.pop("overlap", None)
    assert found == kept


def test_a_kept_profile_that_is_damaged_is_named_by_its_path(shell: Shell) -> None:
    shell("run", "nightly.py")
    [file] = (shell.folder / "home").glob("runs/*/profile.json")
    file.write_text('{"kind": "something"}')

    said = shell("profile", "last")

    assert said.code == Exit.USAGE
    assert f"file=file://FOLDER/home/runs/{file.parent.name}/profile.json" in said.err


def test_a_run_that_failed_has_no_profile(shell: Shell) -> None:
    (shell.folder / "bad.py").write_text(FAILING.replace("FOLDER", str(shell.folder)))
    shell("run", "bad.py")

    said = shell("profile", "last", "-o", "n.profile")

    assert said.code == Exit.USAGE
    assert "only a run that succeeded can be profiled" in said.err
    assert "`rayorch resume " in said.err
    assert not (shell.folder / "n.profile").exists()


def test_capacity_says_machines_time_money_and_what_it_rests_on(lab: Shell) -> None:
    said = lab(
        "capacity", "n.profile", "--pools", "pools.yaml", "--every", "1d", "--by", "06:00", *QUICK
    )

    assert said.code == Exit.OK, said.err
    assert "promise      within 6 h 00 min in 95 % of the runs" in said.out
    assert "ask for      rayorch run ... --autoscale --deadline 21600s" in said.out
    for title in ("machines", "ends", "costs", "what if", "what breaks first", "rests on"):
        assert title in said.out
    assert "the run      measured 21.0 s, simulated 2" in said.out
    assert "not calibrated here: `rayorch bench calibrate`" in said.out
    assert "pool other: speed is not known; 1 is reckoned with" in said.out
    assert "pool here: speed is not known" not in said.out
    assert "in which zones the pools are" in said.out


def test_an_answer_is_a_page_too(lab: Shell) -> None:
    pytest.importorskip("jinja2", reason="the extra `report` is not installed")

    said = lab("capacity", "n.profile", "--pools", "pools.yaml", "--html", "it.html", *QUICK)

    assert said.code == Exit.OK, said.err
    page = (lab.folder / "it.html").read_text()
    assert "Capacity of nightly" in page
    assert page.count("data:image/svg+xml") >= 3


def test_stages_with_gpus_are_told_with_what_they_have_and_where_they_go(lab: Shell) -> None:
    pytest.importorskip("jinja2", reason="the extra `report` is not installed")
    scored = make.profile(make.stage("scored", 4, 3.0, gpus=0.5), whole_s=12.0)
    (lab.folder / "g.profile").write_bytes(dumped(scored))
    asked = ("capacity", "g.profile", "--pools", "pools.yaml")

    refused = lab(*asked, *QUICK)
    (lab.folder / "pools.yaml").write_text(POOLS.replace("max_nodes: 2}", "max_nodes: 2, gpus: 1}"))
    said = lab(*asked, "--html", "it.html", *QUICK)

    assert refused.code == Exit.USAGE
    assert "holds a task of 'scored': it needs 1 core, 1 GiB and 0.5 GPUs; here has" in refused.err
    assert "name a pool with GPUs (`gpus: 1` in a file of pools" in refused.err
    assert said.code == Exit.OK, said.err
    assert "(57.2 MiB each, with 1 core, 1 GiB and 0.5 GPUs)" in said.out
    assert "GPUs each" in said.out
    assert "without other from half-way on" in said.out
    page = (lab.folder / "it.html").read_text()
    assert "1 core, 1 GiB and 0.5 GPUs" in page


@pytest.mark.slow
def test_a_deadline_that_nothing_meets_ends_blocked_and_says_what_could(lab: Shell) -> None:
    said = lab(
        "capacity", "n.profile", "--pools", "pools.yaml", "--deadline", "60s", "--json", *QUICK
    )

    assert said.code == Exit.BLOCKED
    assert "nothing keeps 60.0 s in 95 % of the runs" in said.document["refused"]
    assert said.document["nearest"].startswith("--deadline ")
    assert said.document["finish"]["hit"] == 0.0


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--data", "huge"], "a size is like 500GB, 10TB or 1.5TiB. --data 'huge'"),
        (["--growth", "0x"], "growth is like 3x or 1.5. --growth '0x'"),
        (["--by", "6"], "a time of day is like 06:00. --by '6'"),
        (["--by", "06:00", "--deadline", "1h"], "say one of --by and --deadline"),
        (["--every", "often"], "a time is like 90s, 30m or 1h30m. --every 'often'"),
        (["--data", "900000000TB"], "beyond what can be reckoned with"),
    ],
)
def test_what_cannot_be_asked_is_refused(lab: Shell, typed: list[str], said: str) -> None:
    found = lab("capacity", "n.profile", "--pools", "pools.yaml", *typed)

    assert found.code == Exit.USAGE
    assert said in found.err


def test_without_pools_there_is_no_answer(lab: Shell) -> None:
    found = lab("capacity", "n.profile")

    assert found.code == Exit.USAGE
    assert "say which machines there may be" in found.err
    assert "--pools FILE" in found.err


def test_zero_machines_are_refused_with_where(lab: Shell) -> None:
    Path(lab.folder / "pools.yaml").write_text(POOLS.replace("max_nodes: 20", "max_nodes: 0"))

    found = lab("capacity", "n.profile", "--pools", "pools.yaml")

    assert found.code == Exit.USAGE
    assert "max_nodes" in found.err


@pytest.mark.slow
def test_what_requests_and_egress_cost_is_named_where_nobody_says_it(lab: Shell) -> None:
    silent = lab("capacity", "n.profile", "--pools", "pools.yaml", "--json", *QUICK)
    (lab.folder / "said.yaml").write_text(POOLS + "get_usd: 0\nput_usd: 0.000005\n")
    said = lab("capacity", "n.profile", "--pools", "said.yaml", "--json", *QUICK)

    unknown = silent.document["unknown"]
    assert "what reading an object costs (get_usd): nothing is reckoned with" in unknown
    assert "what writing an object costs (put_usd): nothing is reckoned with" in unknown
    assert any("egress_usd_gb" in each for each in unknown)
    assert not any("get_usd" in each or "put_usd" in each for each in said.document["unknown"])


def test_a_profile_that_is_not_there_is_said(lab: Shell) -> None:
    found = lab("capacity", "other.profile", "--pools", "pools.yaml")

    assert found.code == Exit.USAGE
    assert "the profile cannot be read: no such file or directory. file=other.profile" in found.err

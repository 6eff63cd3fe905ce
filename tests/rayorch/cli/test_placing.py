"""`plan` with an objective or pools: where each stage goes, what lost, and what else is open."""

import sys

import pytest

from rayorch.cli.options import Exit
from tests.rayorch.cli.conftest import PIPELINE, Shell

POOLS = """
data_location: us-east-1
egress_usd_gb: {us-east-1: {us-west-2: 0.02}}
pools:
  - {name: m7i, vcpu: 16, memory: 64 GiB, usd_h: 0.8064, location: us-east-1}
  - {name: c7g, vcpu: 16, memory: 32 GiB, usd_h: 0.58, speed: 1.05, location: us-east-1}
  - {name: far, vcpu: 16, memory: 32 GiB, usd_h: 0.62, location: us-west-2}
  - {name: small, vcpu: 1, memory: 500 MB, usd_h: 0.01, location: us-east-1}
"""


@pytest.fixture
def pools(shell: Shell) -> str:
    """A file of priced pools in two regions."""
    shell.write(POOLS, "pools.yaml")
    return "pools.yaml"


def test_a_plan_with_nothing_to_place_is_as_it_was(shell: Shell) -> None:
    said = shell("plan", "nightly.py")

    assert "placement" not in said.out
    assert "placement" not in shell("plan", "nightly.py", "--json").document


def test_a_plan_says_where_when_for_how_much_and_what_lost(shell: Shell, pools: str) -> None:
    said = shell("plan", "nightly.py", "--pools", pools, "--deadline", "1h30m")

    assert said.code == 0
    for text in (
        "  objective  cheapest that ends within 5400 s in 95% of runs",
        "  rests on   a guess: nothing of this pipeline has been measured yet",
        "stage lines goes to",
        "  chosen     c7g: 1 of 1 task on 1 node",
        "small: too small: needs mem_gb=1.07374, has 0.5",
        "m7i: dearer by",
        "plans that lost",
        "cost against finish time, from the fastest to the cheapest",
    ):
        assert text in said.out
    assert "kept with a probability of 100.0%" in said.out
    assert not (shell.folder / "home").exists()


def test_a_placed_plan_is_a_document_for_programs(shell: Shell, pools: str) -> None:
    said = shell("plan", "nightly.py", "--pools", pools, "--deadline", "90m", "--json")

    placed = said.document["placement"]
    assert placed["hit"] == 1.0
    assert placed["usd"] > 0.0
    assert placed["stages"][0]["chosen"][0]["pool"] == "c7g"
    assert placed["estimates"][0]["attempts"] == 0
    assert placed["frontier"]


def test_what_a_run_took_is_what_the_next_plan_rests_on(shell: Shell, pools: str) -> None:
    shell("run", "nightly.py")

    placed = shell("plan", "nightly.py", "--deadline", "10m", "--json").document["placement"]

    assert placed["estimates"][0]["attempts"] == 1
    # Ten small rows: less than the prior's seconds for opening a file.
    assert placed["p95_s"] < 5.0
    assert "1 attempt of lines" in shell("plan", "nightly.py", "--pools", pools).out


def test_without_prices_dollars_are_unknown(shell: Shell) -> None:
    said = shell("plan", "nightly.py", "--deadline", "10m")

    assert said.code == 0
    assert "  costs      unknown: no price is known for the pools" in said.out
    assert "compute unknown, egress unknown, requests unknown" in said.out
    assert "USD" not in said.out.replace("usd", "")


def test_the_pipelines_own_objective_is_placed_for(shell: Shell) -> None:
    objective = "objective=ro.Deadline(timedelta(minutes=7))"
    text = PIPELINE.replace('owner="data-platform"', objective)
    shell.write(f"from datetime import timedelta\n{text}")

    assert "cheapest that ends within 420 s" in shell("plan", "nightly.py").out
    assert "within 60 s" in shell("plan", "nightly.py", "--deadline", "60").out


def test_an_own_budget_without_prices_says_what_is_missing(shell: Shell) -> None:
    shell.write(PIPELINE.replace('owner="data-platform"', "objective=ro.Budget(5.0)"))

    said = shell("plan", "nightly.py")

    assert said.code == 4
    assert "not kept   a budget needs the price of every pool" in said.out


def test_what_cannot_be_kept_is_blocked_with_the_nearest_that_can(shell: Shell, pools: str) -> None:
    said = shell("plan", "nightly.py", "--pools", pools, "--deadline", "10s")

    assert said.code == 4
    assert "  not kept   no machine is fast enough" in said.out
    nearest = next(line for line in said.out.splitlines() if line.startswith("  nearest"))
    seconds = nearest.split("--deadline ")[1].split()[0]
    assert shell("plan", "nightly.py", "--pools", pools, "--deadline", seconds).code == 0

    said = shell("plan", "nightly.py", "--pools", pools, "--budget", "0.000001")
    assert said.code == 4
    assert "--budget 0." in said.out


def test_a_task_that_fits_nowhere_says_what_it_lacks(shell: Shell) -> None:
    shell.write("- {name: small, vcpu: 1, memory: 500 MB, usd_h: 0.01}", "pools.yaml")

    said = shell("plan", "nightly.py", "--pools", "pools.yaml")

    assert said.code == 4
    assert "class 'lines' fits in no pool" in said.out
    assert "a pool with mem_gb=1.07374 (largest is 0.5)" in said.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--deadline", "soon"), "a time is like 90s, 30m or 1h30m. --deadline 'soon'"),
        (("--deadline", "0"), "a deadline is above 0 and within a year"),
        (("--deadline", "0.0000001s"), "a deadline is above 0 and within a year"),
        (("--deadline", "-5m"), "a time is like"),
        (("--deadline", "99999d"), "a deadline is above 0 and within a year"),
        (("--budget", "0"), "0"),
        (("--budget", "nan"), "a budget is a finite number of dollars. --budget nan"),
        (("--budget", "5"), "a budget needs the price of every pool"),
        (("--pools", "none.yaml"), "the file cannot be read: no such file or directory"),
        (("--pools", "nightly.py"), "pools=nightly.py"),
        (("--plot", "cost.pdf"), "a picture is .png or .svg. --plot cost.pdf"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    shell: Shell, arguments: tuple[str, str], said: str
) -> None:
    refused = shell("plan", "nightly.py", *arguments)

    assert refused.code == 2
    assert said in refused.err
    assert refused.out == ""


def test_a_picture_without_its_library_says_what_to_install(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    said = shell("plan", "nightly.py", "--plot", "cost.svg")

    assert said.code == 2
    assert "pip install 'rayorch[plot]'" in said.err


@pytest.mark.parametrize(("name", "begins"), [("cost.svg", b"<?xml"), ("cost.png", b"\x89PNG")])
def test_a_picture_is_drawn(shell: Shell, pools: str, name: str, begins: bytes) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plot` is not installed")

    said = shell("plan", "nightly.py", "--pools", pools, "--plot", name)

    assert said.code == 0
    assert (shell.folder / name).read_bytes().startswith(begins)


def test_machines_can_only_be_asked_for_of_pools_that_are_described(shell: Shell) -> None:
    said = shell("run", "nightly.py", "--autoscale")

    assert said.code == Exit.USAGE
    assert "pools that are described: --pools cluster.yaml" in said.err


def test_there_are_no_more_threads_to_be_asked_for(shell: Shell, pools: str) -> None:
    said = shell("run", "nightly.py", "--executor", "in-process", "--pools", pools, "--autoscale")

    assert said.code != Exit.OK
    assert "no machines can be asked for: this run is executed by threads" in said.err

"""What a placed run cost and what came of its plan, by `show`, `runs` and `explain`."""

import pytest

from rayorch.core.ledger import spent_usd
from tests.rayorch.cli import placed_run
from tests.rayorch.cli.conftest import Said, Shell


@pytest.fixture
def url(shell: Shell) -> str:
    return f"file://{shell.folder}/home"


def squeezed(said: Said) -> list[str]:
    """The lines of an answer, each run of blanks as one."""
    return [" ".join(line.split()) for line in said.out.splitlines()]


def test_show_tells_the_bill_beside_the_estimate(shell: Shell, url: str) -> None:
    placed_run.write(url)

    lines = squeezed(shell("show", "last"))

    assert "cost 0.0753 USD, 0.0969 core hours; estimated 0.062 USD (+21 %)" in lines
    assert "deadline kept: 2 min 00 s, 52.0 s to spare" in lines
    begun = lines.index("cost by stage and pool")
    assert lines[begun + 1 : begun + 4] == [
        "stage pool attempts core h compute requests wasted USD",
        "lines m7i 2 0.0172 0.0174 0.0000116 0.00000 0.0174",
        "lines m7i-spot 3 0.0317 0.0153 0.0000000 0.00215 0.0153",
    ]
    assert lines[-5:-2] == [
        "ends after 60.0 s usually, 90.0 s in 95 % of runs",
        "wasted 16.0 core seconds of attempts that came to nothing, 0.00215 USD",
        "idle 0.0417 core hours of nodes that started and waited for the run, 0.0362 USD",
    ]


def test_the_bill_for_programs_is_the_ledger(shell: Shell, url: str) -> None:
    placed_run.write(url)
    machine = placed_run.machine(url)

    cost = shell("show", "last", "--json").document["cost"]

    (run,) = machine.runs.values()
    assert cost["usd"] == pytest.approx(spent_usd(run))
    every = [*cost["by_stage_and_pool"], *cost["idle"]]
    assert sum(line["usd"] for line in every) == pytest.approx(cost["usd"])
    outputs = sum(each["usd"] for each in cost["datasets"])
    assert outputs == pytest.approx(cost["usd"])
    assert cost["estimate"] == {
        "usd": 0.062,
        "core_hours": None,
        "p50_s": 60.0,
        "p95_s": 90.0,
        "hit": 0.99,
    }


def test_runs_have_a_column_of_cost_where_dollars_are_known(shell: Shell, url: str) -> None:
    placed_run.write(url)
    shell("run", "nightly.py")

    lines = squeezed(shell("runs"))

    assert lines[0] == "run state tasks rows out began took cost"
    assert [line.split()[-1] for line in lines[1:]] == ["unknown", "USD"]
    assert "0.0753" in lines[2]


def test_unknown_prices_are_told_as_unknown_with_core_hours(shell: Shell, url: str) -> None:
    placed_run.write(url, prices=False)

    said = shell("show", "last")

    unknown = "dollars unknown: no price is known for m7i, m7i-spot"
    assert f"cost 0.0969 core hours; estimated 0.05 core hours (+94 %); {unknown}" in squeezed(said)
    assert "USD" not in said.out
    assert "cost" not in shell("runs").out
    assert shell("show", "last", "--json").document["cost"]["usd"] is None


def test_explain_tells_the_decision_as_it_was_taken_and_what_then_happened(
    shell: Shell, url: str
) -> None:
    placed_run.write(url)

    lines = squeezed(shell("explain", "last"))

    begun = lines.index("placement, as it was decided at +1.00 s")
    assert lines[begun + 1] == "objective cheapest that ends within 120 s in 95% of runs"
    for told in (
        "chosen m7i-spot: 3 of 4 tasks on 1 node",
        "lost far: dearer by 0.07 USD: egress (14.0 s a task, 0.18 USD in all)",
        "small: too small: needs mem_gb=2, has 0.5",
        "greedy: 0.081 USD (+31.0%), ends by 95.0 s",
        "cost 0.0753 USD; foretold 0.062 USD (+21 %)",
        "ended after 68.0 s; foretold 60.0 s usually, 90.0 s in 95 % of runs",
        "lines 0.041 USD 0.0327 USD +60.0 s +41.0 s",
        "lines/1 m7i-spot 2 20.0 s 24.5 s +23 %",
        "3 +31.0 s 0.062 USD 90.0 s re-plan pool m7i-spot is slower",
        "solver failed at +31.0 s: the solver took too long; the decision before it served on",
    ):
        assert told in lines[begun:]


def test_explain_for_programs_has_every_decision_whole(shell: Shell, url: str) -> None:
    placed_run.write(url)

    placement = shell("explain", "last", "--json").document["placement"]

    assert placement["none"] is None
    assert [each["revision"] for each in placement["revisions"]] == [1, 2, 3]
    assert placement["revisions"][0]["decision"] is None
    assert placement["revisions"][1]["decision"]["candidates"][0]["name"] == "greedy"
    assert placement["stages"][0]["foretold_usd"] == pytest.approx(0.041)
    assert placement["classes"][1]["pool"] == "m7i-spot"
    assert placement["solver_failures"][0]["message"] == "the solver took too long"


def test_a_placement_whose_decision_was_not_kept_is_told_from_the_journal(
    shell: Shell, url: str
) -> None:
    placed_run.write(url, decisions=False)

    lines = squeezed(shell("explain", "last"))

    begun = lines.index("placement, as it was followed")
    assert lines[begun + 1] == "lines/1 m7i-spot (20.0 s a task), m7i (15.0 s a task)"
    assert "what then happened" in lines


def test_a_run_without_a_placement_says_so_in_one_line(shell: Shell) -> None:
    shell("run", "nightly.py")

    lines = squeezed(shell("explain", "last"))

    begun = lines.index("placement")
    assert lines[begun + 1] in {
        "none none was decided: its tasks went to any runner",
        "none there was no choice of pools: its tasks went to any runner",
    }
    assert shell("explain", "last", "--json").document["placement"]["none"]
    assert "\nplacement\n  none" in shell("explain", "last", "0").out


def test_explain_of_a_task_tells_where_it_could_go_where_it_went_and_its_price(
    shell: Shell, url: str
) -> None:
    placed_run.write(url)

    lines = squeezed(shell("explain", "last", "0"))

    for told in (
        "class lines/1, 4 tasks that are alike",
        "may go to m7i-spot: 20.0 s expected",
        "pools m7i-spot: chosen (20.0 s a task, 0.0125 USD a task, 4% chance to be taken back)",
        "far: dearer by 0.07 USD: egress (14.0 s a task, 0.045 USD a task)",
        "0 m7i-spot failed (transient) 8.00 s 20.0 s 0.00215 USD",
        "1 m7i finished 16.0 s 15.0 s 0.00897 USD",
    ):
        assert told in lines
    document = shell("explain", "last", "0", "--json").document
    assert document["class"]["name"] == "lines/1"
    assert [each["is_chosen"] for each in document["pools"]] == [True, True, False, False]
    assert [each["pool"] for each in document["attempts"]] == ["m7i-spot", "m7i"]


def test_a_task_without_a_price_has_seconds_and_no_dollars(shell: Shell, url: str) -> None:
    placed_run.write(url, prices=False)

    lines = squeezed(shell("explain", "last", "0"))

    assert "1 m7i finished 16.0 s 15.0 s unknown" in lines

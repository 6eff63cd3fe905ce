"""`plan`, `runs`, `show`, `explain`, `logs` and `cancel`: what they say, to people and programs."""

from collections.abc import Callable

import pytest

from rayorch.client import Connection
from rayorch.clock import ManualClock, SystemClock
from rayorch.core.facts import RunCancelRequested
from rayorch.home import open_home
from rayorch.host.leader import Leader, sign
from rayorch.host.requests import RequestBox
from rayorch.ids import RunId, new_nonce
from rayorch.journal.log import Journal
from rayorch.looking import HomeReader
from rayorch.remote import ask_leader
from rayorch.settings import Settings
from rayorch.submit_errors import UnansweredError
from tests.rayorch import make
from tests.rayorch.cli.conftest import FAILING, Shell
from tests.rayorch.driver import Driver

Steady = Callable[[str], str]


def test_a_plan_says_what_would_be_read_done_and_written(shell: Shell, steady: Steady) -> None:
    shell.write(
        "import rayorch as ro\n"
        'p = ro.Pipeline("p")\n'
        'd = p.read("lines", "FOLDER/in/*.parquet").filter("a > 3").select(["a"], "kept")\n'
        'd.write("FOLDER/out", format="parquet")\n'
    )

    said = shell("plan", "nightly.py", "--slots", "4")

    assert said.code == 0
    lines = steady(said.out).splitlines()
    assert lines[0] == "pipeline p, version V: 1 stage, 3 files, N iB, 1 task for 4 slots"
    assert lines[2:5] == [
        "stage lines",
        "  reads     FOLDER/in/*.parquet (parquet)".replace("FOLDER", "file://FOLDER"),
        "            3 files, N iB, 30 rows",
    ]
    assert "  columns   a" in lines
    assert "  only      (a > 3)  (pushed down to the reader)" in lines
    assert "  writes    file://FOLDER/out" in lines
    assert not (shell.folder / "home").exists()
    assert not (shell.folder / "out").exists()


EXCHANGING = """
import rayorch as ro

nightly = ro.Pipeline("nightly")
lines = nightly.read("lines", "FOLDER/in/*.parquet")
few = lines.aggregate("few", by="a", n=("*", "count"))
few.write("FOLDER/out", format="parquet")
"""


def test_a_plan_shows_what_enters_an_exchange_and_what_is_done_behind_it(shell: Shell) -> None:
    shell.write(EXCHANGING)

    said = shell("plan", "nightly.py", "--slots", "2", "--deadline", "1h")

    assert said.code == 0
    assert "1 task (and those of 1 exchange, once measured) for 2 slots" in said.out
    before, _, behind = said.out.partition("\nstage few\n")
    assert "  columns   a\n" in before
    assert "  feeds     few\n" in before
    assert behind.partition("\n\n")[0].splitlines() == [
        "  takes     lines",
        "  does      aggregate by a: n = count(*)",
        "  tasks     as many as what it takes turns out to need",
        "  each      1 core, 1.00 GiB of memory",
        "  writes    file://FOLDER/out",
    ]
    assert "  covers     without few: placed when what they take is measured\n" in behind


def test_a_plan_is_a_document_for_programs(shell: Shell) -> None:
    document = shell("plan", "nightly.py", "--json").document

    assert document["pipeline"] == "nightly"
    assert document["files"] == 3
    assert [stage["steps"] for stage in document["stages"]] == [["map doubled"]]


def test_runs_are_listed_the_newest_first(shell: Shell, steady: Steady) -> None:
    shell("run", "nightly.py")
    shell.write(FAILING)
    shell("run", "nightly.py")

    said = shell("runs")

    assert [" ".join(line.split()) for line in steady(said.out).splitlines()] == [
        "run state tasks rows out began took",
        "nightly-ID failed 0/1 0 DAY TIME N s",
        "nightly-ID succeeded 1/1 30 DAY TIME N s",
    ]
    assert len(shell("runs", "--json").document["runs"]) == 2
    assert shell("runs", "--limit", "1").err == "and 1 older run: --limit N\n"


def test_whose_a_run_is_shows_once_somebody_said_so(shell: Shell) -> None:
    shell("run", "nightly.py")
    assert "tenant" not in shell("runs").out + shell("show", "last").out

    shell("run", "nightly.py", "--tenant", "finance", "--priority", "-5")

    head, newest, oldest = shell("runs").out.splitlines()
    assert "tenant" in head
    assert newest.split()[-2:] == ["finance", "-5"]
    assert oldest.split()[-2:] == ["default", "0"]
    assert "  tenant    finance, priority -5" in shell("show", "last").out.splitlines()
    document = shell("show", "last", "--json").document
    assert (document["tenant"], document["priority"]) == ("finance", -5)


def test_a_tenant_that_cannot_be_is_refused_before_anything_runs(shell: Shell) -> None:
    said = shell("run", "nightly.py", "--tenant", "a/b")

    assert said.code == 2
    assert "pipeline=nightly, field=tenant, value='a/b'" in said.err
    assert shell("runs").err == "no runs yet under file://FOLDER/home\n"


def test_a_home_without_runs_says_so(shell: Shell) -> None:
    assert shell("runs").err == "no runs yet under file://FOLDER/home\n"
    assert shell("runs", "--json").document == {"runs": []}


def test_show_names_the_file_that_a_failed_run_came_from(shell: Shell, steady: Steady) -> None:
    """Whoever looks may be in another folder than whoever ran it: the path is from the root."""
    shell.write(FAILING)
    shell("run", "nightly.py")

    said = shell("show", "last")

    assert said.code == 0
    resume = "mend it, then:  rayorch resume nightly-ID FOLDER/nightly.py"
    assert f"  go on     {resume}" in steady(said.out).splitlines()


def test_show_tells_where_the_metrics_of_a_run_that_goes_on_are(shell: Shell) -> None:
    """A runner elsewhere is at work on it: the address is of that machine."""
    driver = Driver()
    driver.lead()
    driver.feed(make.submitted(), make.planned(4))
    home = open_home(f"file://{shell.folder}/home")
    journal = Journal(home.store, ManualClock(), new_nonce)
    journal.lead(lambda _: None)
    journal.append(driver.events)
    url = "http://127.0.0.1:9123/metrics"
    sign(home, Leader("control", "elsewhere", 7, SystemClock().now_s(), "nightly-1", url))

    said = shell("show", "last")

    assert f"  metrics   {url} (Prometheus, on elsewhere)" in said.out.splitlines()
    assert shell("show", "last", "--json").document["metrics_url"] == url


def test_a_home_that_was_named_is_named_in_the_commands_that_a_report_gives(
    shell: Shell, steady: Steady
) -> None:
    shell.write(FAILING)

    said = shell("run", "nightly.py", "--home", "other home", "--executor", "in-process")

    lines = steady(said.err).splitlines()
    assert lines[-2].endswith(
        "rayorch resume nightly-ID nightly.py --home 'other home' --executor in-process"
    )
    assert lines[-1] == "  logs      rayorch logs nightly-ID --home 'other home'"


NEEDS = "1 core, N iB of memory"


def test_explain_says_why_so_many_tasks_and_what_happened(shell: Shell, steady: Steady) -> None:
    shell("run", "nightly.py")

    said = shell("explain", "last")

    lines = steady(said.out).splitlines()
    why = "1 task of 3 files, N iB: small files share a task, about 3 in each; N iB to N iB each"
    assert f"  lines     {why}" in lines
    assert lines[lines.index("what each has to itself") + 1].split() == ["lines", *NEEDS.split()]
    assert any("submitted by data-platform, version V" in line for line in lines)
    document = shell("explain", "last", "--json").document
    assert document["plan"][0]["files"] == 3
    assert document["plan"][0]["cores"] == 1
    assert document["plan"][0]["gpus"] == 0
    assert document["story"][0]["what"].startswith("submitted by data-platform")


def test_explain_tells_the_story_of_a_task(shell: Shell, steady: Steady) -> None:
    shell("run", "nightly.py")

    said = shell("explain", "last", "0")

    lines = steady(said.out).splitlines()
    assert lines[0] == "task 0 of nightly-ID: committed"
    assert "  file      file://FOLDER/in/1.parquet" in lines
    assert "  wrote     30 rows, N iB for file://FOLDER/out" in lines
    assert shell("explain", "last", "0", "--json").document["state"] == "committed"


def test_explain_tells_why_a_task_failed(shell: Shell, steady: Steady) -> None:
    shell.write(FAILING)
    shell("run", "nightly.py")

    run, task = shell("explain", "last"), shell("explain", "last", "0")

    failed = "attempt 0, user: no such price (FOLDER/nightly.py:11)"
    assert f"  task 0    {failed}" in steady(run.out).splitlines()
    assert "task 0 of nightly-ID: failed (user)" in steady(task.out)


def test_logs_show_what_happened_and_what_functions_printed(shell: Shell) -> None:
    shell("run", "nightly.py")

    said = shell("logs", "last", "--follow")

    assert "[lines 0] | doubling 30\n" in said.out
    assert "planning -> running\n" in said.out
    task = shell("logs", "last", "--task", "0").out
    assert "doubling 30" in task
    assert "planning" not in task


def test_logs_are_json_lines_for_programs(shell: Shell) -> None:
    shell("run", "nightly.py")

    lines = shell("logs", "last", "--json").out.splitlines()

    assert len(lines) > 3
    assert all(line.startswith('{"at_s":') for line in lines)


def test_a_log_without_lines_of_a_task_says_so(shell: Shell) -> None:
    shell("run", "nightly.py")

    said = shell("logs", "last", "--task", "5")

    assert (said.code, said.out) == (0, "")
    assert said.err.endswith("has no lines of task 5\n")


def test_a_failed_run_that_nobody_leads_is_cancelled_here(shell: Shell, steady: Steady) -> None:
    shell.write(FAILING)
    shell("run", "nightly.py")

    said = shell("cancel", "last")

    assert (said.code, steady(said.out)) == (
        0,
        "nightly-ID is cancelled; what it staged is removed\n",
    )
    assert shell("show", "last", "--json").document["state"] == "cancelled"
    assert steady(shell("cancel", "last").out) == "nightly-ID was cancelled before\n"
    assert shell("resume", "last").code == 2


def test_a_run_that_has_succeeded_is_not_cancelled(shell: Shell, steady: Steady) -> None:
    shell("run", "nightly.py")

    said = shell("cancel", "last")

    assert said.code == 2
    assert steady(said.err) == (
        "error: run nightly-ID is not cancelled: it has succeeded\n"
        "  its outputs are published: write over them with another run\n"
    )


def test_a_leader_that_does_not_answer_is_named(shell: Shell) -> None:
    """Some process signs as the leader and never looks at the requests; the clock is ours."""
    shell.write(FAILING)
    run = RunId(shell("run", "nightly.py", "--json").document["run"])
    home = open_home(f"file://{shell.folder}/home")
    clock = ManualClock()
    sign(home, Leader("control", "elsewhere", 1, clock.now_s(), run))
    at = Connection(home, clock, Settings(home=home.url))
    reader = HomeReader(at)
    reader.look()

    with pytest.raises(UnansweredError, match="within 10 s"):
        ask_leader(at, reader, run, "control, pid 1 on elsewhere")

    left = RequestBox(home, ManualClock(clock.now_s() + 60)).take(active=True)
    assert left == [RunCancelRequested(run=run, reason="cancelled by a client")]

"""`pools`, and pools of a cluster file on `plan`, `run` and `resume`."""

import subprocess
import sys
from pathlib import Path

import pytest

from rayorch.cli.options import Options
from rayorch.cli.pools import print_live
from rayorch.cli.wanting import wanted_of
from rayorch.errors import PoolsError
from rayorch.host.ray_cluster import WarmCluster, keep_warm
from rayorch.plan.machines import Machine
from rayorch.plan.pool_files import read_pool_file
from rayorch.plan.pools import usable_pools
from rayorch.plan.prices import Fact
from rayorch.spec.objective import Budget
from tests.rayorch.cli.conftest import Shell
from tests.rayorch.plan.test_cluster_file import FILE

BOOK = "- {type: m7a.4xlarge, market: spot, usd_h: 0.37}"


@pytest.fixture
def cluster(shell: Shell) -> str:
    """A cluster file, one of its two pools without a price."""
    shell.write(FILE, "cluster.yaml")
    shell.write(BOOK, "prices.yaml")
    return "cluster.yaml"


def test_pools_are_told_with_where_each_fact_is_from(shell: Shell, cluster: str) -> None:
    said = shell("pools", cluster)

    assert said.code == 0
    for text in (
        "cluster.yaml: 2 pools",
        "steady    1-4     16  59.6 GiB  0   0.8064  on-demand  us-east-1  unknown",
        "spot      0-9     16   unknown        1  unknown       spot  us-east-1     1.35",
        "usd_h            0.8064 USD an hour  (label of node type steady)",
        "usd_h            unknown; a plan counts core hours, and a budget is refused",
        "memory           unknown; taken for enough",
        "boot_s           unknown; a plan reckons with 75 s from running to working",
        "reclaims_per_h   unknown; a plan reckons with 0.3 an hour",
    ):
        assert " ".join(text.split()) in " ".join(said.out.split())


def test_a_price_book_fills_what_labels_leave_open(shell: Shell, cluster: str) -> None:
    said = shell("pools", cluster, "--prices", "prices.yaml", "--json")

    steady, spot = said.document["pools"]
    assert spot["facts"]["usd_h"] == {"value": 0.37, "from": "prices.yaml"}
    assert spot["facts"]["memory"] is None
    assert steady["of"] == ["node type steady"]
    assert (steady["nodes_min"], steady["nodes_max"]) == (1, 4)


def test_without_a_file_and_a_cluster_there_is_nothing_to_show(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    said = shell("pools")

    assert said.code == 2
    assert "`rayorch pools cluster.yaml` shows those of a file" in said.err


def test_a_cluster_file_without_prices_works_where_none_is_needed(
    shell: Shell, cluster: str
) -> None:
    del shell
    wanted = wanted_of(Options(pools=cluster, deadline="2h"), None, 2)

    assert wanted is not None
    assert [pool.usd_h for pool in wanted.pools.pools] == [0.8064, None]


def test_a_budget_without_prices_is_refused_with_where_to_say_them(
    shell: Shell, cluster: str
) -> None:
    for command in (("plan", "nightly.py"), ("run", "nightly.py")):
        said = shell(*command, "--pools", cluster, "--budget", "5")

        assert said.code == 2
        assert (
            "a budget needs the price of every pool, and none is known of spot: `usd_h` in a file "
            "of pools, the label `price-per-hour` in a cluster.yaml (both by --pools FILE), or a "
            "price book (--prices FILE). --budget 5" in said.err
        )
    wanted = wanted_of(Options(pools=cluster, prices="prices.yaml", budget=5.0), None, 2)
    assert wanted is not None
    assert wanted.objective == Budget(5.0)


def test_a_run_on_a_cluster_that_has_none_of_the_pools_names_both(
    shell: Shell, cluster: str
) -> None:
    said = shell("run", "nightly.py", "--pools", cluster)

    assert said.code != 0
    assert (
        "none of the pools is in the cluster: the file has spot, steady; there are in-process"
        in said.err
    )
    assert "--autoscale asks the cluster's autoscaler for machines of the file" in said.err
    resumed = shell("resume", "last", "--pools", cluster)
    assert "none of the pools is in the cluster" in resumed.err


@pytest.mark.parametrize(("there", "said"), [({"local": 4}, "there are local"), ({}, "no nodes")])
def test_nodes_without_a_label_are_told_of_where_no_pool_is_there(
    shell: Shell, cluster: str, there: dict[str, int], said: str
) -> None:
    del shell

    with pytest.raises(PoolsError, match="none of the pools is in the cluster") as caught:
        usable_pools(read_pool_file(cluster, None).spec, there, cluster)

    text = str(caught.value)
    assert said in text
    assert ("`ray start --labels pool=NAME`" in text) == ("local" in there)


def test_nodes_that_joined_without_a_label_are_told_of_beside_those_that_have_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cores = {"vcpu": Fact(2.0, "a test")}
    nodes = [
        Machine(name="node a", labels={"pool": "spot"}, given=cores),
        Machine(name="node b", labels={}, given=cores),
    ]

    print_live("h:6379", nodes, None)
    told = capsys.readouterr().out
    print_live("h:6379", nodes[1:], None)

    assert (
        "pool local: 1 node without the label `pool`, which no plan for named pools uses\n"
        "  `ray start --labels pool=NAME`, or `labels: {pool: NAME}` of its node type" in told
    )
    # A cluster without pools needs no names.
    assert "without the label" not in capsys.readouterr().out


def test_nodes_are_not_emulated_beside_a_ray_that_is_up(
    shell: Shell, cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs would find one of the two, and whoever started the other would not know why."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "rayorch").mkdir()
    command = [sys.executable, "-c", "input()", "--port=20999"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as head:
        keep_warm(WarmCluster("127.0.0.1:20999", head.pid, 0.0, 2, str(tmp_path)))

        said = shell("up", "--emulate", cluster)

        head.communicate(b"\n")
    assert said.code == 2
    assert "a local Ray is up already: `rayorch down` first. --emulate" in said.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "nightly.py", "--emulate", "cluster.yaml"), "nodes are emulated on Ray alone"),
        (("up", "--emulate-nodes", "spot=1"), "--emulate FILE"),
        (("up", "--prices", "prices.yaml"), "--emulate FILE. --prices prices.yaml"),
        (("up", "--emulate", "cluster.yaml", "--home", "there"), "on a cluster, which --address"),
        (
            ("up", "--emulate", "cluster.yaml", "--address", "http://127.0.0.1:1"),
            "a cluster of their own: leave --address out. --emulate cluster.yaml",
        ),
        (("run", "nightly.py", "--emulate-nodes", "spot=1"), "--emulate FILE"),
        (
            ("run", "nightly.py", "--emulate", "cluster.yaml", "--emulate-nodes", "spot"),
            "nodes are like spot=2,steady=1. --emulate-nodes spot",
        ),
        (("plan", "nightly.py", "--prices", "prices.yaml"), "--pools FILE. --prices prices.yaml"),
        (("pools", "none.yaml"), "the file cannot be read: no such file or directory"),
    ],
)
@pytest.mark.usefixtures("cluster")
def test_options_that_make_no_sense_are_refused(
    shell: Shell, arguments: tuple[str, ...], said: str
) -> None:
    refused = shell(*arguments)

    assert refused.code == 2
    assert said in refused.err

"""The cluster files that we ship: Ray and KubeRay take them, and both say the same pools."""

import shlex
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from rayorch.cli.commands import RAYORCH
from rayorch.host import health_checks
from rayorch.plan.labels import check_labels
from rayorch.plan.pool_files import read_pool_file
from tests.kuberay_schema import SCHEMAS

ROOT = Path(__file__).parents[1]
KUBERAY = ROOT / "deploy" / "kuberay"


def loaded(path: Path) -> dict[str, Any]:
    given = yaml.safe_load(path.read_text())
    assert isinstance(given, dict)
    return given


@pytest.fixture
def validated(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Ray's own check of a cluster file; nothing is started and no cloud is asked."""
    # It warns of accelerators where this is not said, and warnings are errors.
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    util = pytest.importorskip("ray.autoscaler._private.util")

    def check(given: dict[str, Any]) -> dict[str, Any]:
        prepared: dict[str, Any] = util.prepare_config(deepcopy(given))
        util.validate_config(prepared)
        return prepared

    return check


def test_ray_takes_the_cluster_file(
    validated: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    given = loaded(ROOT / "cluster.yaml")

    prepared = validated(given)

    assert prepared["available_node_types"].keys() == given["available_node_types"].keys()
    # And would not take one that is wrong, or the check would say nothing.
    given["available_node_types"]["gpu"]["labels"]["price-per-hour"] = 0.8
    with pytest.raises(jsonschema.ValidationError, match=r"0\.8 is not of type 'string'"):
        validated(given)


def test_the_cluster_file_has_unlike_pools_and_a_price_of_each() -> None:
    file = read_pool_file(str(ROOT / "cluster.yaml"))

    pools = {each.spec.name: each.spec for each in file.described}
    assert list(pools) == ["ondemand", "spot-m6i", "spot-m7a", "highmem", "gpu"]
    assert [name for name, pool in pools.items() if pool.spot is not None] == [
        "spot-m6i",
        "spot-m7a",
    ]
    assert file.spec.is_priced
    assert len({pool.usd_h for pool in pools.values()}) == len(pools)
    assert pools["highmem"].memory == 2 * pools["ondemand"].memory
    assert pools["gpu"].gpus == 1.0
    assert {pool.location for pool in pools.values()} == {"us-east-1"}
    # What nobody can know beforehand is not made up.
    assert {"provision_s", "boot_s"} <= set(file.described[0].unknown)


def test_every_figure_of_the_price_book_says_where_it_is_from() -> None:
    book = loaded(ROOT / "deploy" / "prices.yaml")

    assert all(entry.get("source") or book["source"] for entry in book["prices"])


@pytest.mark.parametrize("name", ["raycluster.yaml", "rayjob.yaml"])
def test_manifests_are_what_kuberay_takes(name: str) -> None:
    manifest = loaded(KUBERAY / name)
    schema = SCHEMAS[manifest["kind"]]

    jsonschema.validate(manifest, schema)

    manifest["spec"]["workerGroups"] = []
    with pytest.raises(jsonschema.ValidationError, match="'workerGroups' was unexpected"):
        jsonschema.validate(manifest, schema)


def test_kuberay_has_the_pools_of_the_cluster_file() -> None:
    """Names, sizes, limits and labels: a plan for one must hold on the other."""
    launcher = loaded(ROOT / "cluster.yaml")
    types = launcher["available_node_types"]
    spec = loaded(KUBERAY / "raycluster.yaml")["spec"]
    groups = {group["groupName"]: group for group in spec["workerGroupSpecs"]}

    head = types.pop(launcher["head_node_type"])
    assert spec["headGroupSpec"]["labels"] == head["labels"]
    assert spec["headGroupSpec"]["resources"] == {"CPU": "0"}
    assert list(groups) == list(types)
    for name, group in groups.items():
        node = types[name]
        check_labels(group["labels"])
        assert group["labels"] == node["labels"]
        assert group["resources"] == {key: str(n) for key, n in node["resources"].items()}
        assert (group["minReplicas"], group["maxReplicas"]) == (
            node["min_workers"],
            node["max_workers"],
        )
        assert group.get("idleTimeoutSeconds") == node.get("idle_timeout_s")
        selector = group["template"]["spec"]["nodeSelector"]
        assert selector["node.kubernetes.io/instance-type"] == node["node_config"]["InstanceType"]


def test_heads_are_told_to_find_a_dead_machine_in_time() -> None:
    """As `rayorch doctor` asks for it."""
    wanted = {f"RAY_{name}": str(value) for name, value in health_checks.WANTED.items()}
    (command,) = (
        each
        for each in loaded(ROOT / "cluster.yaml")["head_start_ray_commands"]
        if "ray start" in each
    )
    words = dict(word.split("=", 1) for word in command.split() if word.startswith("RAY_"))
    head = loaded(KUBERAY / "raycluster.yaml")["spec"]["headGroupSpec"]["template"]["spec"]
    (container,) = head["containers"]

    assert wanted.items() <= words.items()
    assert wanted.items() <= {each["name"]: each["value"] for each in container["env"]}.items()


def test_the_job_is_a_command_that_there_is() -> None:
    program, command, *arguments = shlex.split(
        loaded(KUBERAY / "rayjob.yaml")["spec"]["entrypoint"]
    )

    assert program == "rayorch"
    RAYORCH.commands[command].make_context(command, arguments)

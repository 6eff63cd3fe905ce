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


def started_with(commands: str) -> dict[str, str]:
    """Return the variables under which cluster.yaml starts Ray."""
    (line,) = (each for each in loaded(ROOT / "cluster.yaml")[commands] if "ray start" in each)
    return dict(word.split("=", 1) for word in line.split() if word.startswith("RAY_"))


def variables(pod: dict[str, Any]) -> dict[str, str]:
    """Return those of the one container of a pod."""
    (container,) = pod["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


def test_heads_are_told_to_find_a_dead_machine_in_time() -> None:
    """As `rayorch doctor` asks for it."""
    wanted = {f"RAY_{name}": str(value) for name, value in health_checks.WANTED.items()}
    head = loaded(KUBERAY / "raycluster.yaml")["spec"]["headGroupSpec"]["template"]["spec"]

    assert wanted.items() <= started_with("head_start_ray_commands").items()
    assert wanted.items() <= variables(head).items()


def test_heads_keep_who_is_there_and_machines_wait_for_them() -> None:
    """`tests/cluster/test_head.py` shows what these are good for."""
    spec = loaded(KUBERAY / "raycluster.yaml")["spec"]
    head = spec["headGroupSpec"]["template"]["spec"]
    pods = [head, *(group["template"]["spec"] for group in spec["workerGroupSpecs"])]
    launched = started_with("head_start_ray_commands")
    waits = "RAY_gcs_rpc_server_reconnect_timeout_s"

    assert (launched["RAY_gcs_storage"], launched["RAY_gcs_storage_path"]) == (
        "rocksdb",
        "$HOME/ray_gcs",
    )
    assert launched[waits] == started_with("worker_start_ray_commands")[waits] == "600"
    assert {variables(pod)[waits] for pod in pods} == {"600"}
    (mount,) = (m for m in head["containers"][0]["volumeMounts"] if m["name"] == "gcs")
    (volume,) = (v for v in head["volumes"] if v["name"] == "gcs")
    assert variables(head)["RAY_gcs_storage"] == "rocksdb"
    assert variables(head)["RAY_gcs_storage_path"].startswith(f"{mount['mountPath']}/")
    claim = loaded(KUBERAY / "volume.yaml")["metadata"]["name"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim


def test_the_job_is_a_command_that_there_is() -> None:
    program, command, *arguments = shlex.split(
        loaded(KUBERAY / "rayjob.yaml")["spec"]["entrypoint"]
    )

    assert program == "rayorch"
    RAYORCH.commands[command].make_context(command, arguments)

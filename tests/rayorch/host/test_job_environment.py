"""What a control actor inherits of the job that started it: packages, and no working directory."""

import json

from rayorch.host.job_environment import JOB_CONFIG, keep_packages_alone


def config(**environment: object) -> dict[str, str]:
    return {JOB_CONFIG: json.dumps({"runtime_env": environment, "metadata": {"a": "b"}})}


def test_without_a_job_there_is_nothing_to_keep() -> None:
    environ: dict[str, str] = {}

    assert keep_packages_alone(environ) == ""
    assert environ == {}


def test_the_working_directory_goes_and_all_else_stays() -> None:
    """Modules of the first run would be found there by all later ones."""
    environ = config(working_dir="gcs://_ray_pkg_1.zip", env_vars={"A": "1"})

    assert keep_packages_alone(environ) == ""
    assert json.loads(environ[JOB_CONFIG]) == {
        "runtime_env": {"env_vars": {"A": "1"}},
        "metadata": {"a": "b"},
    }


def test_the_same_packages_have_one_fingerprint_and_others_another() -> None:
    pip = {"packages": ["lightgbm"], "pip_check": False}
    first = keep_packages_alone(config(pip=pip, working_dir="gcs://1.zip"))

    assert first
    assert keep_packages_alone(config(pip=pip, working_dir="gcs://2.zip")) == first
    assert keep_packages_alone(config(pip={**pip, "packages": ["xgboost"]})) not in {first, ""}

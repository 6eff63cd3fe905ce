"""What the environment says, and what an option overrules."""

from pathlib import Path

import pytest

from rayorch.settings import CACHE_BYTES, Cache, Metadata, load_cache, load_metadata, load_settings
from tests.rayorch.refusals import refusal


def test_without_anything_the_home_is_in_the_users_folder() -> None:
    settings = load_settings({})

    assert settings.home == f"file://{Path.home()}/.rayorch"
    assert (settings.executor, settings.ray_address) == ("ray", None)


def test_the_environment_is_read_and_an_option_overrules_it() -> None:
    environ = {
        "RAYORCH_HOME": "s3://lake/home",
        "RAYORCH_EXECUTOR": "in-process",
        "RAY_ADDRESS": "auto",
    }

    settings = load_settings(environ, home="/tmp/home")  # noqa: S108 - nothing is opened.

    assert settings.home == "file:///tmp/home"
    assert (settings.executor, settings.ray_address) == ("in-process", "auto")


def test_a_bad_home_names_the_variable_or_the_option() -> None:
    assert refusal(lambda: load_settings({"RAYORCH_HOME": "s3://"})) == (
        "the home is not a URL: s3:// must be followed by a name. RAYORCH_HOME=s3://"
    )
    assert refusal(lambda: load_settings({}, home="s3://")).endswith("--home=s3://")


def test_an_unknown_executor_gets_a_near_miss() -> None:
    assert refusal(lambda: load_settings({}, executor="inprocess")) == (
        "unknown executor; did you mean 'in-process'?. --executor=inprocess"
    )


def test_the_clouds_own_variables_say_where_to_ask_for_notices() -> None:
    assert load_metadata({}) == Metadata(
        aws_url="http://169.254.169.254", gcp_url="http://metadata.google.internal"
    )
    environ = {
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1",
        "GCE_METADATA_HOST": "127.0.0.1:2",
    }
    assert load_metadata(environ) == Metadata(
        aws_url="http://127.0.0.1:1", gcp_url="http://127.0.0.1:2"
    )
    assert load_metadata({**environ, "AWS_EC2_METADATA_DISABLED": "true"}).aws_url == ""


def test_a_cache_is_asked_for_by_its_folder_or_its_size() -> None:
    usual = f"{Path.home()}/.cache/rayorch/ranges"

    assert load_cache({}) is None
    assert load_cache({"RAYORCH_CACHE_DIR": "/disk"}) == Cache(
        folder="/disk", bytes_max=CACHE_BYTES
    )
    assert load_cache({"RAYORCH_CACHE_BYTES": "1000"}) == Cache(folder=usual, bytes_max=1000)
    assert load_cache({"RAYORCH_CACHE_DIR": "/disk", "RAYORCH_CACHE_BYTES": "0"}) is None


@pytest.mark.parametrize("text", ["lots", "-1", "20 GiB"])
def test_a_cache_of_no_size_is_refused(text: str) -> None:
    assert refusal(lambda: load_cache({"RAYORCH_CACHE_BYTES": text})) == (
        f"a number of bytes is needed, or 0 for no cache. RAYORCH_CACHE_BYTES={text}"
    )

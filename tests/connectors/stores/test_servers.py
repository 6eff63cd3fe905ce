"""Where a server is, said under any of its names, in options or in the environment."""

import pytest

from connectors.formats.delta_log import table_options
from connectors.stores.servers import is_unencrypted, with_endpoint

OPTIONS = [
    ("s3", "endpoint_url", "aws_endpoint_url_s3"),
    ("s3a", "AWS_ENDPOINT_URL", "aws_endpoint_url_s3"),
    ("gs", "base_url", "google_base_url"),
    ("gcs", "google_base_url", "google_base_url"),
    ("az", "endpoint", "azure_storage_endpoint"),
    ("abfs", "azure_endpoint", "azure_storage_endpoint"),
]
VARIABLES = [
    ("s3", "AWS_ENDPOINT_URL", "aws_endpoint_url_s3"),
    ("gs", "GOOGLE_BASE_URL", "google_base_url"),
    ("az", "AZURE_STORAGE_ENDPOINT", "azure_storage_endpoint"),
]


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a key, so that no profile is asked")
    for name in ("AWS_ENDPOINT_URL_S3", *(variable for _, variable, _ in VARIABLES)):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("scheme", "name", "known"), OPTIONS)
def test_an_option_is_told_the_clients_under_their_name(
    scheme: str, name: str, known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _, variable, _ in VARIABLES:
        monkeypatch.setenv(variable, "https://from-the-environment")

    assert with_endpoint(scheme, {name: "https://here", "Other": "x"}) == {
        known: "https://here",
        "other": "x",
    }


@pytest.mark.parametrize(("scheme", "variable", "known"), VARIABLES)
def test_the_environment_counts_where_no_option_says_it(
    scheme: str, variable: str, known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert with_endpoint(scheme, {known: ""}) == {}
    monkeypatch.setenv(variable, "http://there")

    said = with_endpoint(scheme, {known: ""})

    assert said == {known: "http://there"}
    assert is_unencrypted(scheme, said)
    assert not is_unencrypted(scheme, {known: "https://there"})
    assert with_endpoint("file", {"Durable": "yes"}) == {"durable": "yes"}
    assert not is_unencrypted("file", said)


@pytest.mark.parametrize(("scheme", "name", "known"), OPTIONS)
def test_a_delta_table_is_where_other_files_are(scheme: str, name: str, known: str) -> None:
    said = table_options(f"{scheme}://b/t", {name: "http://here", "durable": "yes"})

    assert said == {known: "http://here", "allow_http": "true"}
    assert "allow_http" not in table_options(f"{scheme}://b/t", {name: "https://here"})
    refused = {name: "http://here", "aws_allow_http": "false"}
    assert "allow_http" not in table_options(f"{scheme}://b/t", refused)

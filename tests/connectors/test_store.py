import pickle
import subprocess
import sys

import pytest

from connectors import errors
from connectors.errors import ConnectorError, MissingExtraError, StoreError
from connectors.store import open_store

STORE_ERRORS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, StoreError)
]


@pytest.mark.parametrize("kind", STORE_ERRORS)
def test_an_error_survives_pickling_and_says_what_where_and_why(kind: type[StoreError]) -> None:
    error = kind("s3://b", "a/k", "because")

    again = pickle.loads(pickle.dumps(error))  # noqa: S301

    assert type(again) is kind
    assert str(again) == str(error)
    for part in ("because", "store=s3://b", "key=a/k"):
        assert part in str(error)
    assert error.retryable == (kind.remedy == "retry")


def test_a_missing_library_names_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "connectors.stores.object_store", raising=False)
    monkeypatch.setitem(sys.modules, "obstore", None)

    with pytest.raises(MissingExtraError, match=r"pip install 'rayorch\[s3\]'") as caught:
        open_store("s3://bucket/x")
    assert isinstance(caught.value, ConnectorError)


def test_the_port_alone_imports_no_client() -> None:
    script = """
import sys, connectors.store
heavy = {"obstore", "fsspec", "s3fs", "pyarrow", "ray", "deltalake"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("gs://bucket/x", "does what Google documents, not on Google's servers"),
        ("az://container/x", "tested on Azurite, not on Azure's servers"),
        ("s3://bucket/x", "Tested on SeaweedFS, not on Amazon's servers"),
    ],
)
def test_a_store_says_on_what_it_was_tested(
    url: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "somebody")

    assert says in open_store(url).promises.note

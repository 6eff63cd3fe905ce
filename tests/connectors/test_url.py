import os
from pathlib import Path

import pytest

from connectors.errors import BadUrlError
from connectors.url import join_url, parse_url, redact_url, split_glob, split_url


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("/data/x/", "file:///data/x"),
        ("file:///data/a b/é", "file:///data/a b/é"),
        ("file:///data/%20", "file:///data/%20"),
        ("/data/../etc", "file:///etc"),
        ("S3://bucket/a/b/", "s3://bucket/a/b"),
        ("s3://bucket", "s3://bucket"),
        ("memory://name/x", "memory://name/x"),
    ],
)
def test_a_url_has_one_spelling(given: str, url: str) -> None:
    assert parse_url(given).url == url
    assert parse_url(url).url == url


def test_a_path_may_be_relative_or_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    assert parse_url("data").path == os.path.realpath(tmp_path / "data")
    assert parse_url("file://~/.rayorch").path == str(tmp_path / "home/.rayorch")


@pytest.mark.parametrize("url", ["", "s3://", "s3:///key", "s3://b/../x", "s3://b/a//b", "a\x00b"])
def test_a_url_that_names_no_place_is_refused(url: str) -> None:
    with pytest.raises(BadUrlError):
        parse_url(url)


def test_a_pattern_is_cut_from_the_folder_above_it() -> None:
    assert split_glob("s3://lake/tpch/lineitem/*.parquet") == (
        "s3://lake/tpch/lineitem",
        "*.parquet",
    )
    assert split_glob("/d/day=*/x?.csv") == ("file:///d", "day=*/x?.csv")
    assert split_glob("s3://lake/x") == ("s3://lake/x", "")


def test_a_url_splits_into_folder_and_name_and_joins_again() -> None:
    assert split_url("s3://lake/a/b.parquet") == ("s3://lake/a", "b.parquet")
    assert split_url("s3://lake") == ("s3://lake", "")
    assert join_url(*split_url("/d/x y")) == "file:///d/x y"


def test_a_password_in_a_url_is_never_shown() -> None:
    assert redact_url("sftp://me:secret@host/x") == "sftp://me:***@host/x"

from importlib.metadata import version

from rayorch.version import our_version, versions


def test_versions_are_of_what_is_installed() -> None:
    assert versions(["pyarrow", "no-such-library"]) == {"pyarrow": version("pyarrow")}


def test_our_own_is_that_of_the_package() -> None:
    assert our_version() == version("rayorch")

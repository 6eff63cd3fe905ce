"""What a process runs, and in what another differs from it."""

from rayorch.host.code import code_here, library_code, unlike

OURS = {"rayorch": "aa", "python": "3.11.7", "pyarrow": "25.0.1"}


def test_a_process_says_what_must_be_alike() -> None:
    here = code_here()

    assert here["rayorch"] == library_code()
    assert {"python", "ray", "pyarrow", "duckdb"} <= set(here)
    assert unlike(here, here) == ""


def test_each_difference_is_named_our_own_code_first() -> None:
    theirs = {**OURS, "rayorch": "bb", "pyarrow": "24.0.0"}

    assert unlike(theirs, OURS) == "rayorch bb and not aa, pyarrow 24.0.0 and not 25.0.1"


def test_one_that_does_not_say_is_unlike() -> None:
    assert unlike({}, {"python": "3.11.7"}) == "python unknown and not 3.11.7"
    assert unlike({"duckdb": "1.4"}, {}) == "duckdb 1.4 and not none"

"""What `show` and `explain` say of how a run's estimates turned out."""

from tests.rayorch.cli.conftest import Shell


def test_a_run_says_what_was_predicted_and_what_it_took(shell: Shell) -> None:
    """The second run rests on the first: its estimates come from what was measured."""
    shell("run", "nightly.py")
    first = shell("explain", "last", "--json").document["estimates"]
    shell("run", "nightly.py")

    (stage,) = shell("show", "last", "--json").document["estimates"]

    assert [each["measured_before"] for each in first] == [0]
    assert (stage["stage"], stage["measured_before"], stage["tasks"]) == ("lines", 1, 1)
    assert stage["version"] == first[0]["version"]
    assert stage["actual_s"] > 0.0
    assert "from 1 attempt before, took" in shell("explain", "last").out
    assert "  estimate  lines, 1 task: predicted" in shell("show", "last").out


def test_estimates_survive_a_new_place_and_not_new_code(shell: Shell) -> None:
    shell("run", "nightly.py")
    (first,) = shell("show", "last", "--json").document["estimates"]

    text = (shell.folder / "nightly.py").read_text()
    (shell.folder / "nightly.py").write_text(text.replace("/out", "/elsewhere"))
    shell("run", "nightly.py")
    (moved,) = shell("show", "last", "--json").document["estimates"]
    (shell.folder / "nightly.py").write_text(text.replace("twice", "doubled"))
    assert shell("run", "nightly.py").code == 0
    (changed,) = shell("show", "last", "--json").document["estimates"]

    assert moved["version"] == first["version"]
    assert moved["measured_before"] == 1
    assert (changed["measured_before"], changed["version"] == first["version"]) == (0, False)

"""The working directory: what travels, what is the same twice, and what is too much."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayorch.host import working_dir
from rayorch.host.working_dir import pack, relative_to_dir
from rayorch.submit_errors import SubmitError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    for name in (
        "a.py",
        "lib/b.py",
        "data/big.bin",
        ".git/HEAD",
        "lib/__pycache__/b.pyc",
        "keep.log",
    ):
        file = made / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"content of {name}")
    return made


def names(target: Path) -> list[str]:
    with zipfile.ZipFile(target) as packed:
        return sorted(packed.namelist())


def test_what_is_ignored_or_excluded_or_made_by_tools_stays(folder: Path, tmp_path: Path) -> None:
    (folder / ".gitignore").write_text("*.log\n!keep.log\n")
    (folder / ".rayignore").write_text("data/\n")

    assert pack(folder, tmp_path / "a.zip") == 5
    assert names(tmp_path / "a.zip") == [".gitignore", ".rayignore", "a.py", "keep.log", "lib/b.py"]
    pack(folder, tmp_path / "b.zip", ["lib", "keep.log"])
    assert names(tmp_path / "b.zip") == [".gitignore", ".rayignore", "a.py"]


def test_the_same_files_make_the_same_bytes_whenever_they_were_written(
    folder: Path, tmp_path: Path
) -> None:
    """Ray names a package after its bytes, and takes none that it has."""
    pack(folder, tmp_path / "a.zip")
    (folder / "a.py").write_text("content of a.py")
    pack(folder, tmp_path / "b.zip")

    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    (folder / "a.py").write_text("another")
    pack(folder, tmp_path / "c.zip")
    assert (tmp_path / "a.zip").read_bytes() != (tmp_path / "c.zip").read_bytes()


def test_the_home_stays_where_it_is(folder: Path, tmp_path: Path) -> None:
    journal = folder / "state/control/log/1"
    journal.parent.mkdir(parents=True)
    journal.write_text("of a control actor that goes on writing")

    pack(folder, tmp_path / "a.zip", home=folder / "state")

    assert "a.py" in names(tmp_path / "a.zip")
    assert not [name for name in names(tmp_path / "a.zip") if name.startswith("state")]


@pytest.mark.parametrize("before", ["_sizes", "_check_size"])
def test_a_file_that_goes_away_meanwhile_was_not_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    """Editors and programs keep temporary files for as long as a write takes."""
    brief = folder / "lib/.b.py.swp"
    brief.write_text("half of")
    step = getattr(working_dir, before)

    def later(*args: object) -> object:
        given = [list(arg) if isinstance(arg, Iterator) else arg for arg in args]
        brief.unlink()
        return step(*given)

    monkeypatch.setattr(working_dir, before, later)

    count = pack(folder, tmp_path / "a.zip")

    assert count == len(names(tmp_path / "a.zip"))
    assert "lib/b.py" in names(tmp_path / "a.zip")
    assert "lib/.b.py.swp" not in names(tmp_path / "a.zip")


def test_a_folder_that_is_too_large_is_refused_by_what_makes_it_so(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "data" / "big.bin").write_bytes(b"x" * (3 << 20))
    monkeypatch.setattr(working_dir, "PACKED_BYTES_MAX", 1 << 20)

    with pytest.raises(SubmitError) as caught:
        pack(folder, tmp_path / "a.zip")

    first, *rest = str(caught.value).splitlines()
    assert first == (
        "the working directory is too large: at most 1 MiB and 100000 files go to the cluster. "
        f"working_dir={folder}, size=3 MiB, files=4"
    )
    assert rest[0] == "         3 MiB  data/"
    assert rest[-1] == (
        "  --exclude data/ or a line in .rayignore leaves it here; data belongs into a store"
    )
    assert not (tmp_path / "a.zip").exists()
    assert pack(folder, tmp_path / "a.zip", ["data/"]) == 3


def test_a_file_outside_the_working_directory_is_refused_with_the_option_that_mends_it(
    folder: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "nightly.py"
    outside.touch()
    (folder / "link.py").symlink_to(outside)

    for path in (outside, folder / "link.py"):
        with pytest.raises(SubmitError) as caught:
            relative_to_dir(str(path), folder, "FILE")
        assert str(caught.value) == (
            "the FILE is outside the working directory, which is all that the cluster gets. "
            f"FILE={outside}, working_dir={folder}\n"
            f"  --working-dir {tmp_path}, or move the FILE into the working directory"
        )
    with pytest.raises(SubmitError, match=r"there is no such FILE\. FILE=nowhere"):
        relative_to_dir("nowhere.py", folder, "FILE")
    assert relative_to_dir(str(folder / "lib" / "b.py"), folder, "FILE") == "lib/b.py"

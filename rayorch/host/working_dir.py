"""The working directory of a submitted run, packed as Ray's job server takes it.

Only what is meant to travel does: what `.gitignore` and `.rayignore` name stays, and so do version
control, caches, virtual environments and the home. The same files make the same bytes, which Ray
then knows and does not take twice. Others may write into the folder meanwhile: a file that goes
away while it is packed is one that was not there.
"""

import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from pathspec import GitIgnoreSpec

from rayorch.submit_errors import SubmitError

PACKED_BYTES_MAX: Final = 500 * 2**20
"""Ray refuses 512 MiB; it keeps what is packed in the memory of the head."""
FILES_MAX: Final = 100_000
ALWAYS_OUT: Final = (".git/", ".hg/", ".svn/", "__pycache__/", ".venv/", "venv/", "*.pyc")
IGNORE_FILES: Final = (".gitignore", ".rayignore")
_SHOWN_MAX: Final = 5
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the first time that a zip can hold


def relative_to_dir(path: str, folder: Path, what: str) -> str:
    """Return a path as it is named inside the working directory.

    Raises: SubmitError, when it lies outside, and so would not be there on the cluster.
    """
    full = Path(path).expanduser().resolve()
    if not full.exists():
        raise SubmitError(f"there is no such {what}", f"{what}={path}", "")
    try:
        return full.relative_to(folder.resolve()).as_posix()
    except ValueError:
        raise SubmitError(
            f"the {what} is outside the working directory, which is all that the cluster gets",
            f"{what}={full}, working_dir={folder.resolve()}",
            f"--working-dir {full.parent}, or move the {what} into the working directory",
        ) from None


def pack(folder: Path, target: Path, excludes: Sequence[str] = (), home: Path | None = None) -> int:
    """Write the working directory into a zip file; return how many files are in it.

    `home` is left out, wherever it is: the cluster has its own way to it.
    Raises: SubmitError, naming what is largest, before more is read than may be sent.
    """
    sizes = _sizes(_travelling(folder, excludes, home))
    _check_size(folder, sizes)
    count = 0
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for file in sorted(sizes):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            with suppress(FileNotFoundError):
                entry.external_attr = (file.stat().st_mode & 0o777) << 16
                packed.writestr(entry, file.read_bytes())
                count += 1
    return count


def _travelling(folder: Path, excludes: Sequence[str], home: Path | None) -> Iterator[Path]:
    """Yield the files that travel, in no order. Links to files travel as files, to folders not."""
    lines = [*ALWAYS_OUT]
    for name in IGNORE_FILES:
        ignore = folder / name
        if ignore.is_file():
            lines += ignore.read_text(errors="replace").splitlines()
    # Last: what is typed goes before what is written.
    stays = GitIgnoreSpec.from_lines([*lines, *excludes])
    waiting = [folder]
    while waiting:
        for path in _entries(waiting.pop()):
            name = path.relative_to(folder).as_posix()
            if path.is_dir():
                if not (path.is_symlink() or path == home or stays.match_file(f"{name}/")):
                    waiting.append(path)
            elif path.is_file() and not stays.match_file(name):
                yield path


def _entries(folder: Path) -> list[Path]:
    with suppress(FileNotFoundError):
        return list(folder.iterdir())
    return []


def _sizes(files: Iterable[Path]) -> dict[Path, int]:
    sizes = {}
    for file in files:
        with suppress(FileNotFoundError):
            sizes[file] = file.stat().st_size
    return sizes


def _check_size(folder: Path, sizes: Mapping[Path, int]) -> None:
    total = sum(sizes.values())
    if total <= PACKED_BYTES_MAX and len(sizes) <= FILES_MAX:
        return
    by_entry: dict[str, int] = {}
    for file, size in sizes.items():
        relative = file.relative_to(folder)
        entry = relative.parts[0] + ("/" if len(relative.parts) > 1 else "")
        by_entry[entry] = by_entry.get(entry, 0) + size
    largest = sorted(by_entry, key=lambda name: -by_entry[name])[:_SHOWN_MAX]
    shown = "\n".join(f"{by_entry[name] / 2**20:8.0f} MiB  {name}" for name in largest)
    raise SubmitError(
        f"the working directory is too large: at most {PACKED_BYTES_MAX >> 20} MiB and "
        f"{FILES_MAX} files go to the cluster",
        f"working_dir={folder}, size={total / 2**20:.0f} MiB, files={len(sizes)}",
        f"{shown}\n--exclude {largest[0]} or a line in .rayignore leaves it here; "
        "data belongs into a store",
    )

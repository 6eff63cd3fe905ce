"""TPC-H data as many Parquet files, made once by tpchgen-cli and used again."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

TABLES = ("lineitem", "orders")
# Of scale 1, Snappy as tpchgen-cli writes it: 290 MB. What is read is written again, smaller.
ROOM_BYTES_AT_SCALE_1 = 800 << 20


def tpch_data(folder: Path, scale: float, parts: int) -> Path:
    """Return the folder with the tables of this scale; make them if they are not there."""
    made = folder / f"tpch-{scale:g}-{parts}"
    if made.is_dir():
        return made
    folder.mkdir(parents=True, exist_ok=True)
    _check_room(folder, scale)
    print(f"making TPC-H data of scale {scale:g} in {made} ...", file=sys.stderr)
    # Under another name until it is whole: a folder that is there is always complete.
    making = made.with_suffix(".making")
    shutil.rmtree(making, ignore_errors=True)
    subprocess.run(
        [
            *(_tpchgen(), "parquet", "--quiet"),
            *("--scale-factor", f"{scale:g}", "--parts", str(parts)),
            *("--tables", ",".join(TABLES), "--output-dir", str(making)),
        ],
        check=True,
    )
    making.rename(made)
    return made


def _tpchgen() -> str:
    found = shutil.which("tpchgen-cli", path=sysconfig.get_path("scripts"))
    if found is None:
        raise SystemExit("tpchgen-cli is not installed: pip install 'rayorch[demo]'")
    return found


def _check_room(folder: Path, scale: float) -> None:
    needed_bytes = int(scale * ROOM_BYTES_AT_SCALE_1)
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise SystemExit(
            f"not enough room in {folder}: {needed_bytes >> 20} MiB are needed and "
            f"{free_bytes >> 20} MiB are free; choose another --folder or a smaller --scale"
        )

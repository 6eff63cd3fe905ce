"""The metrics of a run are found, while it goes, by what the home says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import rayorch as ro

PIPELINE = """
import json
import urllib.request
from pathlib import Path

import pyarrow as pa
import rayorch as ro

HOME = Path({home!r})
scrape = ro.Pipeline("scrape")

def scraped(batch: pa.Table) -> pa.Table:
    url = json.loads((HOME / "leader.json").read_text())["metrics_url"]
    with urllib.request.urlopen(url) as answer:
        return pa.table({{"text": [answer.read().decode()]}})

scrape.read("one", "range://1").map(scraped).write({out!r}, format="parquet")

if __name__ == "__main__":
    ro.run(scrape, home=str(HOME))
"""


def test_a_run_s_own_function_finds_and_reads_them(tmp_path: Path) -> None:
    home, out = tmp_path / "home", tmp_path / "out"
    file = tmp_path / "scrape_job.py"
    file.write_text(PIPELINE.format(home=str(home), out=str(out)))

    subprocess.run(
        [sys.executable, str(file)],
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")},
        check=True,
    )

    (text,) = ro.read(str(out)).to_table()["text"].to_pylist()
    assert re.search(r'^rayorch_tasks{pipeline="scrape",.*} 1\.0$', text, re.MULTILINE), text
    # What is known once it is over is not there any more, and points to nobody.
    assert not (home / "leader.json").exists()

"""The words and options of `rayorch bench`."""

from typing import Final

import click

from rayorch.cli.lazy import ExamplesGroup, LazyCommand
from rayorch.cli.parameters import EXECUTOR, HOME, HTML, JSON

RUN: Final = LazyCommand(
    "run",
    work="rayorch.cli.benching:run",
    help="Measure rayorch on this machine, against what else is installed, and its targets.\n\n"
    "Peers (Ray Data, Daft on Ray and by itself, Dask, a bare process pool, and Polars and DuckDB "
    "as what one process can do) take turns with us, each in a fresh process and in its idiomatic "
    "form; outputs are compared. One that is not installed is skipped, and said. The suite is in "
    "the source distribution; benchmarks/README.md says what each workload is. The exit code is 1 "
    "when a target is missed, or something of ours failed; the rest is measured all the same.",
    examples=(
        ("rayorch bench run --quick -o today.jsonl", "one small run of each side"),
        ("rayorch bench run -o today.jsonl", "medians of 5; hours"),
        ("rayorch bench run --only scan,group --peers duckdb,daft-ray --runs 3", "a part of it"),
        ("rayorch bench run --quick --html today.html", "and a page with plots"),
        ("rayorch bench run --only scan,tpch-join --data s3://lake/bench", "on an object store"),
    ),
    params=[
        click.Option(["--only"], metavar="NAME,...", help="These workloads alone."),
        click.Option(["--peers"], metavar="NAME,...", help="Against these; else all but tuned."),
        click.Option(["--runs"], type=click.IntRange(1, 1_000), metavar="N", help="Of each side."),
        click.Option(
            ["--scale"],
            type=click.FloatRange(0.0, 1_000.0, min_open=True),
            metavar="X",
            help="Rows and tasks, over the usual number; else 1, with --quick 0.05.",
        ),
        click.Option(
            ["--quick"],
            is_flag=True,
            help="One small run of each side, of the workloads that say most; 20 s a run at most.",
        ),
        click.Option(
            ["--data"],
            metavar="URL",
            help="Read and write there, our home too: s3://... Inputs stay; nothing else does.",
        ),
        click.Option(
            ["--output", "-o"], metavar="FILE", help="Append a JSON line for each run to it."
        ),
        HTML,
        JSON,
    ],
)
COMPARE: Final = LazyCommand(
    "compare",
    work="rayorch.cli.benching:compare",
    help="Say what is faster and slower in a second file of results, beyond the noise.\n\n"
    "Ratios are after over before, of ours, so that above 1 is worse; the range says what pairs of "
    "runs say. How much the machine itself has changed, by peers of the same version, is divided "
    "out. The exit code is 1 when a ratio is above 1 even at the low end of its range.",
    examples=(
        ("rayorch bench compare main.jsonl mine.jsonl", "exits with 1 on a regression, for CI"),
        ("rayorch bench compare main.jsonl mine.jsonl --tolerance 0.1", "if it is worse by 10 %"),
        ("rayorch bench compare main.jsonl mine.jsonl --json", "the same for programs"),
    ),
    params=[
        click.Argument(["before"], metavar="BEFORE"),
        click.Argument(["after"], metavar="AFTER"),
        click.Option(
            ["--tolerance"],
            type=click.FloatRange(0.0, 10.0),
            default=0.05,
            show_default=True,
            metavar="X",
            help="What may get worse, whatever the noise is.",
        ),
        click.Option(
            ["--one-run"],
            type=click.FloatRange(0.0, 10.0),
            default=0.25,
            show_default=True,
            metavar="X",
            help="What a single run is taken to be off; several tell it themselves.",
        ),
        JSON,
    ],
)
DATA: Final = LazyCommand(
    "data",
    work="rayorch.cli.generating:data",
    help="Make data to measure with: tables of awkward shapes from a seed, or TPC-H.\n\n"
    "KIND is zipf (skewed keys), hot (one key with half of the rows), pareto (work of a row), "
    "small (5,000 files of a few KB), wide (200 columns), strings, nested, or tpch (all eight "
    "tables, by tpchgen-cli). The same seed makes the same rows anywhere. Nothing is overwritten, "
    "and a disk without room is refused before anything is made.",
    examples=(
        ("rayorch bench data zipf --to data/zipf", "10,000,000 rows in 64 files"),
        ("rayorch bench data nested --to s3://lake/nested --rows 100000 --files 8", "a store"),
        ("rayorch bench data tpch --to data/tpch --scale-factor 10 --files 64", "a part each"),
    ),
    params=[
        click.Argument(
            ["kind"],
            type=click.Choice(
                ["zipf", "hot", "pareto", "small", "wide", "strings", "nested", "tpch"]
            ),
            metavar="KIND",
        ),
        click.Option(["--to"], metavar="URL", required=True, help="An empty place for the files."),
        click.Option(["--rows"], type=click.IntRange(1), metavar="N", help="In all files."),
        click.Option(["--files"], type=click.IntRange(1), metavar="N", help="Of each table."),
        click.Option(
            ["--seed"],
            type=click.IntRange(0),
            default=1,
            show_default=True,
            metavar="N",
            help="Which rows; TPC-H has one seed of its own.",
        ),
        click.Option(
            ["--scale-factor", "-s"],
            type=click.FloatRange(0.0, min_open=True),
            default=1.0,
            show_default=True,
            metavar="SF",
            help="Of TPC-H; 1 is about 0.4 GB of Parquet.",
        ),
        JSON,
    ],
)
REPORT: Final = LazyCommand(
    "report",
    work="rayorch.cli.benching:report",
    help="Show what a file of results holds, as tables, and as a page with plots.\n\n"
    "The page is one file that loads nothing: it can be mailed, or kept beside the results.",
    examples=(
        ("rayorch bench report today.jsonl", "the tables again"),
        ("rayorch bench report today.jsonl --html today.html", "and a page with plots"),
    ),
    params=[click.Argument(["file"], metavar="RESULTS"), HTML],
)
CALIBRATE: Final = LazyCommand(
    "calibrate",
    work="rayorch.cli.calibrating:calibrate",
    help="Measure how far the simulator of `rayorch capacity` is off on this machine.\n\n"
    "Runs two pipelines for real with one and two runners, and on two unlike pools that are "
    "emulated, all sizes three times, in turn; simulates sizes that were not fitted, of which the "
    "middle comparison counts, and keeps the error under the home, where every answer of `rayorch "
    "capacity` shows it. Takes a quarter of an hour and up to 30 GB of the "
    "temporary folder, which it gives back. The exit code is 1 when it is further off than it "
    "should be: by 8 % in the median and 20 % at worst, and by 5 % in cost.",
    examples=(
        ("rayorch bench calibrate", "on the usual executor"),
        ("rayorch bench calibrate --executor in-process", "without Ray"),
        ("rayorch bench calibrate --json", "each run, for programs"),
    ),
    params=[EXECUTOR, HOME, JSON],
)
BENCH: Final = ExamplesGroup(
    "bench",
    commands={str(each.name): each for each in (RUN, REPORT, COMPARE, DATA, CALIBRATE)},
    help="Measure this machine.",
    short_help="Measure this machine",
)
BENCH.examples = (
    ("rayorch bench run --quick -o today.jsonl", "against Ray Data, Daft, Dask, Polars, DuckDB"),
    ("rayorch bench report today.jsonl --html today.html", "a page with plots"),
    ("rayorch bench compare before.jsonl today.jsonl", "what got slower, beyond the noise"),
    ("rayorch bench data zipf --to data/zipf", "skewed, small, wide, nested data, or TPC-H"),
    ("rayorch bench calibrate", "how far simulated runs are off real ones"),
)

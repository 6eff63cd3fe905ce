"""The words and options of `rayorch profile` and `rayorch capacity`."""

from typing import Final

import click

from rayorch.cli.lazy import LazyCommand
from rayorch.cli.parameters import HOME, HTML, JSON, PRICES, run_argument

PROFILE: Final = LazyCommand(
    "profile",
    work="rayorch.cli.capacity:profile",
    help="Export what a finished run took as a workload profile, for `rayorch capacity`.\n\n"
    "Sizes, seconds, counts and how they are spread, by stage: no data, no paths, no names of "
    "columns, so that it may be shared. A run that was resumed is read back from its journal.",
    examples=(
        ("rayorch profile last -o nightly.profile", "of the newest run, into a file"),
        ("rayorch profile nightly-20261122 --json", "on standard output"),
    ),
    params=[
        run_argument(),
        click.Option(["--output", "-o"], metavar="FILE", help="Where to write it."),
        HOME,
        JSON,
    ],
)
CAPACITY: Final = LazyCommand(
    "capacity",
    work="rayorch.cli.capacity:capacity",
    help="Say what a workload will need, cost and take at another size, and how sure that is.\n\n"
    "PROFILE is a file that `rayorch profile` wrote. The real scheduler, planner and solver run on "
    "simulated machines, many times over with other luck; stages that need GPUs go to pools that "
    "have some (`gpus: 1` in a file of pools). The exit code is 4 when nothing keeps "
    "the deadline; what could is said.",
    examples=(
        ("rayorch capacity nightly.profile --pools cluster.yaml", "as large as it was"),
        ("rayorch capacity nightly.profile --pools cluster.yaml --data 10TB --every 1d", "larger"),
        (
            "rayorch capacity nightly.profile --pools cluster.yaml --by 06:00 --confidence 0.99",
            "what keeps a promise",
        ),
        ("rayorch capacity nightly.profile --pools cluster.yaml --json", "the same for programs"),
        ("rayorch capacity nightly.profile --pools cluster.yaml --html it.html", "and for a team"),
    ),
    params=[
        click.Argument(["file"], metavar="PROFILE"),
        click.Option(
            ["--pools"],
            metavar="FILE",
            help="Needed: machines that may be used, in a file of pools or a cluster.yaml as "
            "`ray up` takes it, with prices, speeds, start-up times and how many there can be.",
        ),
        PRICES,
        click.Option(
            ["--data"],
            metavar="SIZE",
            help="How large the sources will be: 10TB; else what was measured.",
        ),
        click.Option(["--growth"], metavar="N", help="How many times that: 3x."),
        click.Option(["--every"], metavar="TIME", help="How often it runs: 1d, 6h."),
        click.Option(
            ["--by", "by_time"], metavar="HH:MM", help="When it must be done; see --start."
        ),
        click.Option(
            ["--start"],
            metavar="HH:MM",
            default="00:00",
            show_default=True,
            help="When it is submitted, for --by.",
        ),
        click.Option(["--deadline"], metavar="TIME", help="How long it may take: 90s, 30m, 1h30m."),
        click.Option(
            ["--confidence"],
            type=click.FloatRange(0.5, 0.999),
            default=0.95,
            show_default=True,
            metavar="P",
            help="The share of runs that must keep that.",
        ),
        click.Option(
            ["--scenarios"],
            type=click.IntRange(2, 1_000),
            metavar="N",
            help="Simulated runs; else 50, or as many as can tell --confidence.",
        ),
        click.Option(
            ["--seed"],
            type=click.IntRange(0),
            default=0,
            show_default=True,
            metavar="N",
            help="Which luck; the same seed gives the same answer.",
        ),
        HTML,
        click.Option(
            ["--home"],
            metavar="URL",
            help="Where `rayorch bench calibrate` has kept how far the simulator is off; else "
            "RAYORCH_HOME, else ~/.rayorch.",
        ),
        JSON,
    ],
)

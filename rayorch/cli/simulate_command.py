"""The words and options of `rayorch simulate`."""

from typing import Final

import click

from rayorch.cli.lazy import LazyCommand
from rayorch.cli.parameters import JSON

SIMULATE: Final = LazyCommand(
    "simulate",
    work="rayorch.cli.simulating:simulate",
    help="Run the real scheduler and journal on a simulated clock, cluster, network and store, "
    "with faults that a seed decides. What it finds is printed with the command that shows it "
    "again; the exit code is then 1.",
    examples=(
        ("rayorch simulate --seeds 1000", "a thousand small clusters, on all cores"),
        ("rayorch simulate --first 83 --seeds 1", "one of them again"),
        ("rayorch simulate --seeds 1 --nodes 1000 --tasks 100000", "a large one"),
    ),
    params=[
        click.Option(
            ["--seeds"],
            type=click.IntRange(1, 10_000_000),
            default=100,
            show_default=True,
            metavar="N",
            help="How many.",
        ),
        click.Option(
            ["--first"],
            type=click.IntRange(0),
            default=0,
            show_default=True,
            metavar="N",
            help="The first of them.",
        ),
        click.Option(
            ["--jobs"],
            type=click.IntRange(1, 1024),
            metavar="N",
            help="Processes; else one for each core.",
        ),
        click.Option(
            ["--nodes"],
            type=click.IntRange(1, 100_000),
            metavar="N",
            help="Machines of the cluster, instead of a handful.",
        ),
        click.Option(
            ["--tasks"],
            type=click.IntRange(1, 10_000_000),
            metavar="N",
            help="Tasks in all, instead of some dozens.",
        ),
        JSON,
    ],
)

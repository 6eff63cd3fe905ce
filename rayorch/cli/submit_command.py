"""`rayorch submit`: its words and its options."""

from typing import Final

import click

from rayorch.cli.lazy import LazyCommand
from rayorch.cli.parameters import (
    ADDRESS,
    AUTOSCALE,
    BUDGET,
    DEADLINE,
    HOME,
    ID,
    JSON,
    NO_WAIT,
    POOLS,
    PRICES,
    SET,
    STANDING,
    TAKEOVER,
    file_argument,
)

SUBMIT: Final = LazyCommand(
    "submit",
    work="rayorch.cli.submitting:submit",
    help="Hand the pipeline in a file to a cluster, follow it, and end as it ends.\n\n"
    "With --address, a Ray job on the cluster loads the file from its working directory and "
    "hands the run to the control actor of the home, which it starts if there is none. "
    "Without, the file is loaded here, and handed to the control actor that serves the home: "
    "that takes seconds, and needs the same Python and rayorch here as there. The home must "
    "be a place that both reach. Ctrl-C lets go of the run; a second one within five seconds "
    "stops it.",
    examples=(
        ("rayorch submit nightly.py --address http://127.0.0.1:8265", "and follow it"),
        ("rayorch submit nightly.py --address URL --pip lightgbm", "with a package"),
        ("rayorch submit jobs/nightly.py --address URL --working-dir .", "and files beside it"),
        ("rayorch submit nightly.py --address URL --entry-label pool=ondemand", "loaded there"),
        ("rayorch submit nightly.py --no-wait --id nightly-2026-11-22", "once, if retried"),
        ("rayorch submit nightly.py --deadline 30m --pools pools.yaml", "as `rayorch run`"),
        ("rayorch submit nightly.py --pools cluster.yaml --autoscale", "start what it needs"),
    ),
    params=[
        file_argument(),
        ADDRESS,
        HOME,
        click.Option(
            ["--working-dir"],
            metavar="DIR",
            help="What the cluster gets of this machine's files; else the folder of FILE. "
            "What .gitignore and .rayignore name stays here.",
        ),
        click.Option(
            ["--exclude"],
            multiple=True,
            metavar="PATTERN",
            help="What else stays here. May be repeated.",
        ),
        click.Option(
            ["--pip"],
            multiple=True,
            metavar="PACKAGE",
            help="Install this on the cluster for the home's control actor and its runners; "
            "else they have what the cluster has. May be repeated.",
        ),
        click.Option(["--requirements"], metavar="FILE", help="Install what this file lists, too."),
        click.Option(
            ["--entry-label"],
            multiple=True,
            metavar="NAME=VALUE",
            help="Load the file on a node with this label. May be repeated.",
        ),
        click.Option(
            ["--entry-cpus"],
            type=click.FloatRange(0, 4096),
            metavar="N",
            help="Cores to hold while the file is loaded; else none.",
        ),
        click.Option(["--entry-memory"], metavar="SIZE", help="Memory to hold meanwhile: 4 GiB."),
        click.Option(
            ["--start-within"],
            metavar="TIME",
            help="Give up when the job has not begun by then; else 5m.",
        ),
        ID,
        NO_WAIT,
        click.Option(
            ["--logs", "follow"],
            is_flag=True,
            help="Show the run's log while it goes, instead of how far it is.",
        ),
        POOLS,
        PRICES,
        AUTOSCALE,
        DEADLINE,
        BUDGET,
        SET,
        *STANDING,
        TAKEOVER,
        JSON,
    ],
)

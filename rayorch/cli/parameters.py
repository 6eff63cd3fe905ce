"""The options and arguments that several commands take, each said once."""

from typing import Final

import click

HOME: Final = click.Option(
    ["--home"],
    metavar="URL",
    help="Where runs are kept, a path or a URL; else RAYORCH_HOME, else ~/.rayorch.",
)
EXECUTOR: Final = click.Option(
    ["--executor"],
    metavar="ray|in-process",
    help="What executes; else RAYORCH_EXECUTOR, else ray: the cluster that RAY_ADDRESS or "
    "`rayorch up` names, else an embedded one.",
)
SLOTS: Final = click.Option(
    ["--slots"], type=click.IntRange(1, 4096), metavar="N", help="Runners of one core at once."
)
TAKEOVER: Final = click.Option(
    ["--takeover"],
    is_flag=True,
    help="Take the home over from a process that is at work on it; that one stops.",
)
JSON: Final = click.Option(
    ["--json", "as_json"], is_flag=True, help="Print one JSON document on standard output."
)
HTML: Final = click.Option(
    ["--html"], metavar="FILE", help="Write it as one page with plots, too; needs rayorch[report]."
)
SET: Final = click.Option(
    ["--set", "sets"],
    multiple=True,
    metavar="NAME=VALUE",
    help="What rayorch.param(NAME, ...) returns in the file. May be repeated.",
)


DEADLINE: Final = click.Option(
    ["--deadline"],
    metavar="TIME",
    help="Find the cheapest plan that ends within this: 90s, 30m, 1h30m.",
)
BUDGET: Final = click.Option(
    ["--budget"],
    type=click.FloatRange(0, min_open=True),
    metavar="USD",
    help="Find the earliest plan that costs no more; a limit when --deadline is given.",
)
POOLS: Final = click.Option(
    ["--pools"],
    metavar="FILE",
    help="Machines that may be used: a file of pools or a cluster.yaml, as `ray up` takes it; "
    "else those that are there.",
)
AUTOSCALE: Final = click.Option(
    ["--autoscale"],
    is_flag=True,
    help="Ask the cluster's autoscaler for machines of --pools that are not there, as the plan "
    "needs them, and let go of them when it does not.",
)
ASKED_OF_NOBODY: Final = (
    "machines can be asked for of pools that are described: --pools cluster.yaml"
)
PRICES: Final = click.Option(
    ["--prices"],
    metavar="FILE",
    help="A price book: what is known of those machines beside what their file or labels say.",
)
EMULATE: Final = click.Option(
    ["--emulate"],
    metavar="FILE",
    help="Start a Ray of small nodes on this machine that stand for those of a cluster.yaml, each "
    "with no more than --slots (2) slots; --pools is then that file, too.",
)
EMULATE_NODES: Final = click.Option(
    ["--emulate-nodes"],
    metavar="POOL=N,...",
    help="How many nodes of which pools are emulated; else the min_workers of the file.",
)
WHERE: Final = (POOLS, PRICES, AUTOSCALE, EMULATE, EMULATE_NODES, DEADLINE, BUDGET)
"""Where a run is to go, and what it is to keep to."""
TENANT: Final = click.Option(
    ["--tenant"],
    metavar="NAME",
    help="Whose run it is, for its share of the cluster; else the pipeline says.",
)
PRIORITY: Final = click.Option(
    ["--priority"],
    type=click.IntRange(-100, 100),
    metavar="N",
    help="How urgent it is among its tenant's, -100 to 100; else the pipeline says, else 0.",
)
CHEAP: Final = click.Option(
    ["--cheap"],
    metavar="HOURS",
    help="Wait for these hours of the day, but not past the deadline: 22:00-06:00 (UTC), "
    "22:00-06:00+02:00, or always; else the pipeline says.",
)
PRICE_MAX: Final = click.Option(
    ["--price-max"],
    type=click.FloatRange(min=0.0, min_open=True),
    metavar="USD",
    help="Wait until an hour of a core costs no more than this, but not past the deadline.",
)
STANDING: Final = (TENANT, PRIORITY, CHEAP, PRICE_MAX)
"""What a run is served by, beside others."""
BY: Final = click.Option(
    ["--by"],
    type=click.Choice(["run", "stage", "dataset", "tenant", "pool", "task", "day", "link"]),
    help="By which side; else by run, or of one run by stage.",
)
SINCE: Final = click.Option(
    ["--since"],
    metavar="TIME",
    help="Only runs submitted since: 12h, 7d, 2w ago, or a date; with --by day, days.",
)
ROWS: Final = click.Option(
    ["--limit"],
    type=click.IntRange(1),
    default=50,
    show_default=True,
    metavar="N",
    help="How many rows; the others are one.",
)
ID: Final = click.Option(
    ["--id"],
    metavar="RUN",
    help="The run's id, else made of the pipeline's name and the time. Asked for twice, the "
    "second is refused: a retry begins no second run.",
)
NO_WAIT: Final = click.Option(
    ["--no-wait", "--detach"], is_flag=True, help="Return once the run is accepted; print its id."
)
ADDRESS: Final = click.Option(
    ["--address"],
    metavar="URL",
    help="The cluster's dashboard, http://HOST:8265.",
)


CLUSTER: Final = click.Option(
    ["--address"],
    metavar="URL",
    help="A cluster: its dashboard, http://HOST:8265, or from a node of it HOST:6379 or auto.",
)


def run_argument() -> click.Argument:
    """Return the argument that names a run."""
    return click.Argument(["run"], metavar="RUN")


def file_argument() -> click.Argument:
    """Return the argument that names a pipeline file."""
    return click.Argument(["file"], metavar="FILE[:NAME]")


def mended_argument() -> click.Argument:
    """Return the argument that may name a mended pipeline file."""
    return click.Argument(["file"], metavar="[FILE[:NAME]]", required=False, default="")

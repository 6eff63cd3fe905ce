"""Every command of `rayorch`: its words, its options, and where its work is done."""

from typing import Final

import click

from rayorch.cli.bench_command import BENCH
from rayorch.cli.capacity_command import CAPACITY, PROFILE
from rayorch.cli.lazy import ExamplesGroup, LazyCommand
from rayorch.cli.parameters import (
    BUDGET,
    BY,
    CLUSTER,
    DEADLINE,
    EMULATE,
    EMULATE_NODES,
    EXECUTOR,
    HOME,
    ID,
    JSON,
    NO_WAIT,
    POOLS,
    PRICES,
    ROWS,
    SET,
    SINCE,
    SLOTS,
    STANDING,
    TAKEOVER,
    WHERE,
    file_argument,
    mended_argument,
    run_argument,
)
from rayorch.cli.simulate_command import SIMULATE
from rayorch.cli.submit_command import SUBMIT
from rayorch.version import our_version

# --- the commands, in the order in which people meet them ---------------------------------------

COMMANDS: Final[tuple[LazyCommand, ...]] = (
    LazyCommand(
        "run",
        work="rayorch.cli.running:run",
        help="Run the pipeline in a file, show its progress, and end with a report.",
        examples=(
            ("rayorch run nightly.py", "the one pipeline in the file"),
            ("rayorch run etl.py:hourly", "one of several"),
            ("rayorch run nightly.py --set day=2026-11-22", "with a parameter"),
            ("rayorch run nightly.py --executor in-process", "without Ray, in this process"),
            ("rayorch run nightly.py --pools cluster.yaml --deadline 30m", "where it is cheapest"),
            ("rayorch run nightly.py --pools cluster.yaml --autoscale", "start what it needs"),
            ("rayorch run nightly.py --emulate cluster.yaml", "on its pools, made small, here"),
            ("rayorch run nightly.py --tenant finance --priority 10", "whose, and how urgent"),
            ("rayorch run nightly.py --cheap 22:00-06:00 --deadline 12h", "when it is cheap"),
            ("rayorch run nightly.py --no-wait", "leave it to a warm Ray or a cluster; its id"),
            ("rayorch run nightly.py --json > report.json", "the report as a document"),
        ),
        params=[
            file_argument(),
            *WHERE,
            *STANDING,
            SET,
            HOME,
            EXECUTOR,
            SLOTS,
            TAKEOVER,
            ID,
            NO_WAIT,
            JSON,
        ],
    ),
    SUBMIT,
    LazyCommand(
        "plan",
        work="rayorch.cli.planning:plan",
        help="Show what a run would read, do and write, and where it would best run.\n\n"
        "Starts nothing and writes nothing. With an objective or --pools it says which machines "
        "each stage takes, when it ends, what it costs, how sure that is, and what else is open.",
        examples=(
            ("rayorch plan nightly.py", "stages, files, tasks, what is pushed down"),
            ("rayorch plan nightly.py --slots 64", "as it would be cut for 64 runners"),
            ("rayorch plan nightly.py --pools pools.yaml --deadline 30m", "where, for how much"),
            ("rayorch plan nightly.py --pools pools.yaml --budget 5 --plot cost.svg", "a picture"),
            ("rayorch plan nightly.py --json", "the same for programs"),
        ),
        params=[
            file_argument(),
            DEADLINE,
            BUDGET,
            POOLS,
            PRICES,
            click.Option(
                ["--plot"],
                metavar="FILE",
                help="Draw cost against finish time as .png or .svg.",
            ),
            SET,
            SLOTS,
            HOME,
            JSON,
        ],
    ),
    LazyCommand(
        "pools",
        work="rayorch.cli.pools:pools",
        help="Show node pools: what is known of them, where from, and what is not known.\n\n"
        "Those of FILE, a cluster.yaml or a file of pools, and those of the cluster that "
        "RAY_ADDRESS or `rayorch up` names: how many nodes live, with how many slots.",
        examples=(
            ("rayorch pools cluster.yaml", "what the file says of its pools"),
            ("rayorch pools cluster.yaml --prices ours.yaml", "with another price book"),
            ("rayorch pools", "the nodes of the cluster, by their labels"),
            ("rayorch pools cluster.yaml --json", "the same for programs"),
        ),
        params=[
            click.Argument(["file"], metavar="[FILE]", required=False, default=""),
            PRICES,
            JSON,
        ],
    ),
    LazyCommand(
        "runs",
        work="rayorch.cli.looking:runs",
        help="List the runs of a home, the newest first.",
        examples=(
            ("rayorch runs", "the last 20"),
            ("rayorch runs --limit 500", "more of them"),
            ("rayorch runs --home s3://lake/_rayorch", "of another home"),
        ),
        params=[
            click.Option(
                ["--limit"],
                type=click.IntRange(1),
                default=20,
                show_default=True,
                metavar="N",
                help="How many.",
            ),
            HOME,
            JSON,
        ],
    ),
    LazyCommand(
        "tenants",
        work="rayorch.cli.tenancy:tenants",
        help="Show who shares a home, what each may have, and what waits; or apply a policy.",
        examples=(
            ("rayorch tenants apply tenants.yaml", "from now on"),
            ("rayorch tenants --json", "the same for programs"),
        ),
        params=[
            click.Argument(["action"], metavar="[apply", required=False, default=""),
            click.Argument(["file"], metavar="FILE]", required=False, default=""),
            HOME,
            JSON,
        ],
    ),
    LazyCommand(
        "show",
        work="rayorch.cli.looking:show",
        help="Show where a run stands, or how it ended.",
        examples=(
            ("rayorch show last", "the newest run"),
            ("rayorch show nightly-20261122", "by the beginning of its id, if only one has it"),
            ("rayorch show last --json", "the same for programs"),
        ),
        params=[run_argument(), HOME, JSON],
    ),
    LazyCommand(
        "explain",
        work="rayorch.cli.explaining:explain",
        help="Say why a run, or one of its tasks, went as it did.",
        examples=(
            ("rayorch explain last", "its stages, why so many tasks, what failed and why"),
            ("rayorch explain last 17", "the input of task 17, its attempts, what it committed"),
        ),
        params=[
            run_argument(),
            click.Argument(["task"], metavar="[TASK]", type=click.IntRange(0), required=False),
            HOME,
            JSON,
        ],
    ),
    LazyCommand(
        "cost",
        work="rayorch.cli.costing:cost",
        help="Show what runs cost, cut by any of their sides.\n\n"
        "The rows add up to what nodes cost, egress and requests: `work` is the time of attempts, "
        "`nodes` what their nodes cost besides, `unused` node time that no run paid for.",
        examples=(
            ("rayorch cost", "every run, the dearest first"),
            ("rayorch cost --by tenant --since 30d", "who spent what this month"),
            ("rayorch cost last", "the newest run, by stage"),
            ("rayorch cost last --by task", "its tasks, with all attempts of each"),
            ("rayorch cost --by link", "bytes and egress by place"),
            ("rayorch cost --by day --json", "for programs"),
        ),
        params=[
            click.Argument(["run"], metavar="[RUN]", required=False, default=""),
            BY,
            SINCE,
            ROWS,
            HOME,
            JSON,
        ],
    ),
    LazyCommand(
        "logs",
        work="rayorch.cli.logs:logs",
        help="Print the log of a run: what happened, and what its functions printed.",
        examples=(
            ("rayorch logs last", "all of it"),
            ("rayorch logs last --task 17", "of one task"),
            ("rayorch logs last --follow", "as it comes, until the run is over"),
            ("rayorch logs last --json", "JSON lines"),
        ),
        params=[
            run_argument(),
            click.Option(
                ["--task"], type=click.IntRange(0), metavar="N", help="Only lines of this task."
            ),
            click.Option(["--follow", "-f"], is_flag=True, help="Wait for more until it is over."),
            HOME,
            click.Option(["--json", "as_json"], is_flag=True, help="Print JSON lines."),
        ],
    ),
    LazyCommand(
        "resume",
        work="rayorch.cli.running:resume",
        help="Go on with a run that failed, was stopped or was interrupted.\n\n"
        "What is committed stays and is not computed again. With FILE, the run goes on with the "
        "functions that the file holds now; its sources and outputs must be the same. Pools and "
        "an objective can be changed as long as it has no plan.",
        examples=(
            ("rayorch resume last", "as it was"),
            ("rayorch resume last nightly.py", "after a function was mended"),
            ("rayorch resume last --pools pools.yaml", "after the file of pools was mended"),
        ),
        params=[
            run_argument(),
            mended_argument(),
            *WHERE,
            SET,
            HOME,
            EXECUTOR,
            SLOTS,
            TAKEOVER,
            JSON,
        ],
    ),
    LazyCommand(
        "cancel",
        work="rayorch.cli.cancelling:cancel",
        help="End a run for good and remove what it staged. Nothing of it becomes visible.",
        examples=(
            ("rayorch cancel last", "the newest run"),
            ("rayorch cancel nightly-20261122-031500-7f3a", "by its id"),
        ),
        params=[run_argument(), HOME, JSON],
    ),
    LazyCommand(
        "doctor",
        work="rayorch.cli.doctor:doctor",
        help="Check Python, Ray, the home's store, credentials and disk; say what to do.\n\n"
        "Of the home's store, and of that of each URL given, it says what was found to hold: "
        "whether it can be written and read, and gives a name to one of many contenders. What it "
        "writes there it removes again.",
        examples=(
            ("rayorch doctor", "this machine and the usual home"),
            ("rayorch doctor --home s3://lake/_rayorch", "another home and its credentials"),
            ("rayorch doctor s3://lake/sales gs://other", "places that runs write to, too"),
        ),
        params=[click.Argument(["urls"], metavar="[URL]...", nargs=-1), HOME, JSON],
    ),
    LazyCommand(
        "fsck",
        work="rayorch.cli.checking:fsck",
        help="Check that all that a home keeps is what was written, and say what can be mended.\n\n"
        "Reads the journal, what runs have published (manifests, Delta logs, the checksums of "
        "files), exchange files and what is left over. Changes nothing without --repair; the exit "
        "code is 1 when something is damaged.",
        examples=(
            ("rayorch fsck", "the usual home"),
            ("rayorch fsck s3://lake/_rayorch", "another one"),
            ("rayorch fsck --quick", "compare sizes only: no output file is read"),
            ("rayorch fsck --repair", "mend what can be mended; nobody may be at work there"),
            ("rayorch fsck --repair --salvage", "give up the runs whose records are lost"),
            ("rayorch fsck --json", "the same for programs"),
        ),
        params=[
            click.Argument(["home_given"], metavar="[HOME]", required=False),
            click.Option(
                ["--repair"],
                is_flag=True,
                help="Mend it, under the home's lead. Deletes nothing that a reader could see.",
            ),
            click.Option(
                ["--salvage"],
                is_flag=True,
                help="With --repair: where records of the journal are lost for good, close the "
                "runs that may have gone on in them, and keep all of their files.",
            ),
            click.Option(["--quick"], is_flag=True, help="Compare sizes, and read no output file."),
            HOME,
            JSON,
        ],
    ),
    PROFILE,
    CAPACITY,
    SIMULATE,
    LazyCommand(
        "up",
        work="rayorch.cli.cluster:up",
        help="Keep a local Ray warm, so that each run starts at once; or start a control actor.\n\n"
        "With --address, a control actor that serves the home is started on that cluster, and "
        "stays there: `rayorch submit` and `rayorch.submit` hand it runs.",
        examples=(
            ("rayorch up", "with all cores of this machine"),
            ("rayorch up --slots 8", "with eight slots"),
            ("rayorch up --emulate cluster.yaml", "its pools, made small, until Ctrl-C"),
            ("rayorch up --address http://127.0.0.1:8265 --home s3://lake/_rayorch", "a cluster"),
            (
                "rayorch up --address 10.0.0.7:6379 --home s3://lake/_rayorch",
                "from one of its nodes",
            ),
        ),
        params=[SLOTS, EMULATE, EMULATE_NODES, PRICES, CLUSTER, HOME, TAKEOVER, JSON],
    ),
    LazyCommand(
        "down",
        work="rayorch.cli.cluster:down",
        help="End the local Ray that `rayorch up` started, or the control actor of a home.",
        examples=(
            ("rayorch down", "frees its memory; runs can be resumed"),
            ("rayorch down --address http://127.0.0.1:8265 --home s3://lake/_rayorch", "a cluster"),
        ),
        params=[CLUSTER, HOME, JSON],
    ),
)


def _tell_version(context: click.Context, _: click.Parameter, is_asked: bool) -> None:
    if is_asked:
        click.echo(f"rayorch {our_version()}")
        context.exit()


RAYORCH: Final = ExamplesGroup(
    "rayorch",
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_tell_version,
            help="Print the version and end.",
        )
    ],
    context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]},
    commands={str(command.name): command for command in (*COMMANDS, BENCH)},
    help="Partitioned Arrow transforms on Ray, committed exactly once.",
    epilog="RUN is a run's id, the beginning of one, or `last`. `rayorch COMMAND --help` has "
    "examples of each.",
)
RAYORCH.examples = (
    ("rayorch run nightly.py", "run the pipeline in a file"),
    ("rayorch plan nightly.py", "what it would do; nothing is started"),
    ("rayorch submit nightly.py --address http://127.0.0.1:8265", "run it on a cluster"),
    ("rayorch runs", "what ran, and how it ended"),
    ("rayorch explain last", "why it went as it did"),
    ("rayorch resume last", "go on where it stopped"),
    ("rayorch doctor", "what is wrong with this machine"),
    ("rayorch fsck", "whether all that is kept is whole"),
)

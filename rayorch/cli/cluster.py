"""`up` and `down`: a local Ray that outlives runs, so that the next one starts at once."""

import click
import msgspec

from rayorch.cli.options import Exit, Options
from rayorch.cli.printing import print_document
from rayorch.clock import SystemClock
from rayorch.host.ray_cluster import start_warm, stop_warm, warm_cluster
from rayorch.observe.figures import counted


def up(options: Options) -> int:
    """Start a local Ray, unless there is one."""
    before = warm_cluster()
    if before is None and not options.as_json:
        click.echo("starting a local Ray ...", err=True)
    warm = before or start_warm(options.slots, SystemClock())
    if options.as_json:
        print_document({**msgspec.to_builtins(warm), "started": before is None})
        return Exit.OK
    state = "is up" if before is None else "was up before"
    click.echo(
        f"a local Ray {state} at {warm.address} with {counted(warm.slots, 'slot')}; "
        "runs use it; `rayorch down` ends it"
    )
    if before is not None and options.slots not in {None, before.slots}:
        click.echo(
            f"it keeps its {counted(before.slots, 'slot')}: `rayorch down` first for another size",
            err=True,
        )
    return Exit.OK


def down(options: Options) -> int:
    """End the local Ray that `up` started."""
    stopped = stop_warm()
    if options.as_json:
        print_document({"stopped": stopped})
    else:
        click.echo("the local Ray has ended" if stopped else "no local Ray was up")
    return Exit.OK

"""`up` and `down`: what outlives runs, so that the next one starts at once.

That is a local Ray or, on a cluster that is named, the control actor of a home.
"""

from typing import TYPE_CHECKING, Final

import click
import msgspec

from rayorch.bootstrap import end_control, start_control
from rayorch.cli.emulating import check_emulation, up_emulated
from rayorch.cli.errors import OptionError
from rayorch.cli.options import Exit, Options
from rayorch.cli.printing import print_document
from rayorch.client import Connection, connection
from rayorch.clock import SystemClock
from rayorch.host.leader import Leader
from rayorch.host.ray_cluster import set_environment, start_warm, stop_warm, warm_cluster
from rayorch.observe.figures import counted
from rayorch.remote import found_leader
from rayorch.submit_errors import NoAnswerError, SubmitError

if TYPE_CHECKING:
    from rayorch.host.ray_control import RayControl

SIGNED_S_MAX: Final = 20.0
LOOK_S: Final = 0.2


def up(options: Options) -> int:
    """Start a local Ray, unless there is one; or emulated nodes; or a control actor elsewhere."""
    check_emulation(options)
    if options.address is not None:
        return _up_there(options, options.address)
    if options.home is not None or options.takeover:
        problem = "a control actor is started on a cluster, which --address names"
        raise OptionError(problem, "--home" if options.home else "--takeover", options.home or "")
    if options.emulate is not None:
        return up_emulated(options)
    if options.prices is not None:
        problem = "a price book is about the machines of a file: --emulate FILE"
        raise OptionError(problem, "--prices", options.prices)
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
    """End the local Ray that `up` started; or the control actor of a home."""
    if options.address is not None:
        return _down_there(options, options.address)
    if options.home is not None:
        problem = "a control actor is ended on its cluster, which --address names"
        raise OptionError(problem, "--home", options.home)
    stopped = stop_warm()
    if options.as_json:
        print_document({"stopped": stopped})
    else:
        click.echo("the local Ray has ended" if stopped else "no local Ray was up")
    return Exit.OK


# --- on a cluster --------------------------------------------------------------------------------


def _up_there(options: Options, address: str) -> int:
    """Start a control actor that serves the home, unless there is one of our code."""
    at = connection(options.home)
    if _is_url(address):
        start_control(at, address, _say)
        leader = found_leader(at)
        if leader is None:
            raise _elsewhere(at, address)
    else:
        control = _control(at, address, options)
        control.close()
        leader = _served(at)
    if options.as_json:
        print_document({"home": at.home.url, **msgspec.to_builtins(leader)})
    else:
        click.echo(f"{leader.name} on {leader.machine} serves {at.home.url}")
    return Exit.OK


def _down_there(options: Options, address: str) -> int:
    at = connection(options.home)
    if _is_url(address):
        end_control(at, address, _say)
    else:
        _control(at, address, options).end()
    if options.as_json:
        print_document({"home": at.home.url, "stopped": True})
    else:
        click.echo(f"the control actor of {at.home.url} has ended; what ran can be resumed")
    return Exit.OK


def _control(at: Connection, address: str, options: Options) -> "RayControl":
    # Ray reads its settings when it is imported, and it takes a second.
    set_environment(address)
    from rayorch.host.ray_control import RayControl  # noqa: PLC0415

    return RayControl(at.home.url, address, None, takeover=options.takeover, serves=True)


def _served(at: Connection) -> Leader:
    """Return the leader once it has signed, which it does within a turn."""
    begun_s = at.clock.monotonic_s()
    while (leader := found_leader(at)) is None:
        if at.clock.monotonic_s() - begun_s > SIGNED_S_MAX:
            raise NoAnswerError(f"the control actor of {at.home.url}", "to serve it", SIGNED_S_MAX)
        at.clock.sleep(LOOK_S)
    return leader


def _elsewhere(at: Connection, address: str) -> SubmitError:
    return SubmitError(
        "the cluster serves a home of this name, but not this one",
        f"home={at.home.url}, address={address}",
        "a home on the disk of one machine is another on the next: --home s3://BUCKET/_rayorch",
    )


def _is_url(address: str) -> bool:
    return address.startswith(("http://", "https://"))


def _say(line: str) -> None:
    click.echo(f"  {line}", err=True)

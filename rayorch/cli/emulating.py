"""Nodes on this machine that stand for a cluster file, and `up --emulate`, which keeps them."""

import contextlib
import signal
from collections.abc import Iterator
from typing import Final

import click
import msgspec

from rayorch.cli.errors import OptionError
from rayorch.cli.options import Exit, Options
from rayorch.cli.printing import print_document
from rayorch.clock import SystemClock
from rayorch.host.ray_cluster import (
    WarmCluster,
    drop_warm,
    keep_warm,
    set_environment,
    state_dir,
    warm_cluster,
)
from rayorch.observe.figures import counted
from rayorch.plan.emulating import Emulation

LOOK_S: Final = 0.5
POOLS_FILE: Final = "emulated-pools.yaml"


def check_emulation(options: Options) -> None:
    """Refuse what does not go with emulated nodes. Raises: OptionError."""
    if options.emulate is None:
        if options.emulate_nodes is not None:
            problem = "it says how many nodes of a file are emulated: --emulate FILE"
            raise OptionError(problem, "--emulate-nodes", options.emulate_nodes)
    elif options.address is not None:
        problem = "emulated nodes are a cluster of their own: leave --address out"
        raise OptionError(problem, "--emulate", options.emulate)


def up_emulated(options: Options) -> int:
    """Start the nodes that stand for a cluster file, and keep them until Ctrl-C or `down`."""
    if warm_cluster() is not None:
        problem = "a local Ray is up already: `rayorch down` first"
        raise OptionError(problem, "--emulate", str(options.emulate))
    # Its imports begin with Ray's.
    set_environment()
    from rayorch.cli.wanting import emulation_wanted  # noqa: PLC0415
    from rayorch.host.emulated import EmulatedCluster  # noqa: PLC0415

    emulation = emulation_wanted(options)
    clock = SystemClock()
    click.echo(f"starting {counted(len(emulation.nodes), 'emulated node')} ...", err=True)
    # As Ctrl-C: the nodes must not outlive us.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        cluster = EmulatedCluster(emulation, clock)
        try:
            say_unlimited(cluster.unlimited)
            with _kept(emulation, cluster.as_warm(clock)) as warm:
                _tell(options, emulation, warm)
                while not cluster.has_ended:
                    clock.sleep(LOOK_S)
        finally:
            cluster.close()
    click.echo("the emulated nodes have ended", err=True)
    return Exit.OK


def say_unlimited(why: str) -> None:
    """Say that unlike speeds are not emulated, if there is a reason why."""
    if why:
        text = "all nodes are equally fast, whatever their speed: cpu quotas cannot be set"
        click.echo(f"{text} ({why})", err=True)


@contextlib.contextmanager
def _kept(emulation: Emulation, warm: WarmCluster) -> Iterator[WarmCluster]:
    """Let runs find the cluster, and its pools as small as they are."""
    import yaml  # noqa: PLC0415 - `run` imports this module, and has no use for it.

    pools = emulation.pools.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    file = state_dir() / POOLS_FILE
    file.write_text(yaml.safe_dump(pools, sort_keys=False))
    keep_warm(warm)
    try:
        yield warm
    finally:
        drop_warm()
        file.unlink(missing_ok=True)


def _tell(options: Options, emulation: Emulation, warm: WarmCluster) -> None:
    pools = str(state_dir() / POOLS_FILE)
    nodes = {node.name: node.pool for node in emulation.nodes}
    if options.as_json:
        print_document({**msgspec.to_builtins(warm), "pools": pools, "nodes": nodes})
        return
    click.echo(f"{counted(len(nodes), 'emulated node')} are up at {warm.address}; runs use them")
    click.echo(f"  rayorch run FILE --pools {pools}")
    click.echo("Ctrl-C here, or `rayorch down`, ends them")

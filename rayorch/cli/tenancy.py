"""`tenants`: who shares a home, what each may have, and what waits for what."""

from typing import Final

import click
import msgspec

from rayorch.cli.errors import OptionError
from rayorch.cli.options import Exit, Options
from rayorch.cli.printing import print_document, print_table
from rayorch.client import Connection, LocalControl, connection
from rayorch.core.limit_facts import PolicyApplied
from rayorch.core.policy import Policy
from rayorch.errors import HomeBusyError
from rayorch.host.requests import leave_request
from rayorch.ids import RunId, new_nonce
from rayorch.looking import HomeReader
from rayorch.observe.figures import bytes_text, usd_text
from rayorch.observe.tenants import TenantsView, tenants_of
from rayorch.plan.yaml_files import loaded, text_of
from rayorch.spec.tenants import TenantsSpec
from rayorch.submit_errors import UnansweredError
from rayorch.tenancy import policy_of

ANSWER_S_MAX: Final = 10.0
LOOK_S: Final = 0.2


def tenants(options: Options) -> int:
    """Show the tenants of a home, or apply a policy first."""
    at = connection(options.home)
    reader = HomeReader(at)
    if options.action:
        if options.action != "apply" or not options.file:
            typed = f"rayorch tenants {options.action} {options.file}".rstrip()
            raise OptionError("use `rayorch tenants apply FILE`, or no argument", "typed:", typed)
        spec = TenantsSpec.load(loaded(text_of(options.file), options.file), options.file)
        _apply(at, reader, policy_of(spec))
    view = tenants_of(reader.look(), at.clock.now_s())
    if options.as_json:
        print_document(msgspec.to_builtins(view))
    else:
        _print(view)
    return Exit.OK


def _apply(at: Connection, reader: HomeReader, policy: Policy) -> None:
    """Let whoever leads take it up, or record it ourselves where nobody does."""
    try:
        control = LocalControl(at.home, at.clock, slots=1)
    except HomeBusyError as busy:
        leave_request(at.home, PolicyApplied(policy), at.clock.now_s(), new_nonce())
        begun_s = at.clock.monotonic_s()
        while at.clock.monotonic_s() - begun_s < ANSWER_S_MAX:
            if reader.look().book.policy == policy:
                return
            at.clock.sleep(LOOK_S)
        raise UnansweredError(RunId("tenants"), busy.leader, ANSWER_S_MAX) from None
    try:
        control.submit([PolicyApplied(policy)])
    finally:
        control.close()


def _print(view: TenantsView) -> None:
    if not view.tenants and not view.limits:
        click.echo("no tenants yet: `rayorch tenants apply FILE` says what each may have", err=True)
        return
    columns = ["tenant", "weight>", "slots>", "memory>", "spent>", "of>", "runs>", "queued>"]
    columns.append("blocked>")
    rows = [
        [
            each.name,
            f"{each.weight:g}",
            str(each.slots_max or "-"),
            bytes_text(each.memory_bytes_max) if each.memory_bytes_max else "-",
            usd_text(each.spent_usd),
            f"{usd_text(each.usd_max)} a {each.usd_per}" if each.usd_max is not None else "-",
            f"{each.at_work} of {each.runs_max}",
            str(each.queued),
            str(each.blocked),
        ]
        for each in view.tenants
    ]
    if rows:
        print_table(columns, rows)
    if view.limits:
        click.echo("")
        held = [[each.name, str(each.held), str(each.units)] for each in view.limits]
        print_table(["limit", "held>", "of>"], held)
    if view.waits:
        click.echo("")
        print_table(
            ["waits", "tenant", "cause", "why"],
            [[x.run, x.tenant, x.cause, x.text] for x in view.waits],
        )

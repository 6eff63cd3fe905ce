"""`fsck`: is all that a home keeps what was written, and what can be mended."""

import click
import msgspec

from rayorch.cli.errors import OptionError
from rayorch.cli.options import Exit, Options
from rayorch.cli.printing import print_document
from rayorch.client import connection
from rayorch.fsck.examine import examine
from rayorch.fsck.findings import FAILING, Examined, Finding
from rayorch.fsck.repair import repair
from rayorch.host.leader import SIGN_S, SIGN_S_IDLE
from rayorch.ids import new_nonce
from rayorch.observe.figures import bytes_text, counted

MARKS = {
    "damage": ("DAMAGE", "red"),
    "doubt": ("doubt", "yellow"),
    "harmless": ("harmless", "yellow"),
    "leftover": ("leftover", "cyan"),
}
UNNOTED = (
    "the last leader was killed, or is at work: "
    f"it notes every {SIGN_S:g} to {SIGN_S_IDLE:g} s how far the journal goes,\n"
    "and nothing shows whether segments since its last note are missing"
)


def fsck(options: Options) -> int:
    """Print what was found; the exit code is 1 if anything is damaged and not mended."""
    if options.salvage and not options.repair:
        raise OptionError("it says how to repair, so it goes with --repair", "--salvage", "")
    at = connection(options.home_given or options.home)
    deep = not options.quick
    if options.repair:
        examined = repair(at.home, at.clock, new_nonce, deep=deep, salvage=options.salvage)
    else:
        examined = examine(at.home, at.clock, deep=deep).examined
    looked = examined.looked
    if options.as_json:
        print_document({"ok": examined.is_whole, **msgspec.to_builtins(examined)})
    else:
        for finding in examined.findings:
            _print(finding, is_repairing=options.repair)
        click.echo(_summary(examined))
    if not looked.segments and not looked.snapshots and not examined.findings:
        click.echo(f"nothing was ever kept under {examined.home}: is it the right home?", err=True)
        return Exit.USAGE
    if not options.as_json:
        _say_next(examined, options)
    return Exit.OK if examined.is_whole else Exit.FAILED


def _print(finding: Finding, *, is_repairing: bool) -> None:
    mark, colour = MARKS[finding.severity]
    done = "mended" if finding.is_repaired else ""
    click.echo(f"{click.style(f'{done or mark:<9}', fg=colour)} {finding.object}")
    click.echo(f"{'':<9} {finding.what}")
    if finding.repair and not finding.is_repaired:
        said = "not done" if is_repairing else "would"
        click.echo(f"{'':<9} {said}: {finding.repair}")
    elif finding.repair:
        click.echo(f"{'':<9} done: {finding.repair}")
    for line in () if finding.is_repaired else finding.advice.splitlines():
        click.echo(f"{'':<9} {line}")


def _summary(examined: Examined) -> str:
    looked = examined.looked
    journal = (
        f"{counted(looked.segments, 'segment')} of {counted(looked.events, 'event')}, "
        f"{counted(looked.snapshots, 'snapshot')}, {counted(looked.runs, 'run')}"
    )
    files = (
        f"{counted(looked.outputs, 'output')} of {counted(looked.files, 'file')}, "
        f"{bytes_text(looked.size_bytes)}"
    )
    sums = f" ({looked.unsummed} by their size alone)" if looked.unsummed else ""
    bad = sum(f.severity in FAILING and not f.is_repaired for f in examined.findings)
    swept = examined.unfinished
    gone = f"; removed {counted(swept, 'write')} that nobody ended" if swept else ""
    verdict = f"{counted(bad, 'object')} damaged" if bad else "whole"
    return f"{examined.home}: {verdict}. Looked at {journal}; {files}{sums}{gone}"


def _say_next(examined: Examined, options: Options) -> None:
    if examined.is_whole and not examined.looked.is_end_noted:
        click.echo(UNNOTED, err=True)
    open_ = [f for f in examined.findings if f.repair and not f.is_repaired]
    if open_ and not options.repair:
        home = options.home_given or options.home
        named = f" {home}" if home else ""
        click.echo(f"`rayorch fsck{named} --repair` does what it would do", err=True)

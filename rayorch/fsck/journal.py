"""The journal's damages, as findings: what each costs and what is done about it."""

from collections.abc import Iterable, Iterator
from typing import Final

from rayorch.core.facts import RunSubmitted
from rayorch.core.run import ENDED, Run
from rayorch.fsck.findings import Finding
from rayorch.journal.inspect import Damage, Inspected
from rayorch.journal.log import SNAP, covered
from rayorch.journal.mark import MARK

_SHOWN_MAX: Final = 5


def journal_findings(found: Inspected) -> Iterator[Finding]:
    """Yield what is wrong with the journal."""
    is_lost = bool(found.lost)
    for damage in found.damages:
        yield _finding(found, damage, is_lost=is_lost)
    for key in found.strangers:
        what = "no version of rayorch writes such an object"
        yield Finding(area="journal", severity="leftover", object=key, what=what)


def _finding(found: Inspected, damage: Damage, *, is_lost: bool) -> Finding:
    if damage.is_lost:
        advice = _advice(found)
        return Finding(
            area="journal", severity="damage", object=damage.key, what=damage.what, advice=advice
        )
    severity = "damage"
    if damage.n and damage.is_covered:
        what, severity = f"{damage.what}; a whole snapshot covers it", "harmless"
    elif damage.key.startswith(SNAP) and covered(damage.key) < found.covered_to:
        what, severity = f"{damage.what}; a newer snapshot is whole", "harmless"
    else:
        what = damage.what
    return Finding(
        area="journal",
        severity=severity,  # type: ignore[arg-type]  # one of its values, by the lines above
        object=damage.key,
        what=what,
        repair="" if is_lost else _repair(damage, severity),
    )


def _repair(damage: Damage, severity: str) -> str:
    if damage.mended is not None:
        return (
            f"flip bit {damage.bit % 8} of byte {damage.bit // 8} back, as the checksums prove; "
            "what is there now is kept aside"
        )
    if damage.key == MARK:
        return "note anew how far the log goes"
    if severity == "harmless":
        return ""
    return "write a new snapshot of the state, which is known"


def _advice(found: Inspected) -> str:
    """Return what is lost with the journal's records, and what can be done."""
    open_runs = [run.id for run in found.machine.runs.values() if is_uncertain(run)]
    known = found.machine.runs
    new = [
        event.fact.run
        for event in found.unfolded
        if isinstance(event.fact, RunSubmitted) and event.fact.run not in known
    ]
    lines = [f"what happened behind segment {found.through} is not known for certain"]
    lines.append("bring the object back from a copy or an older version of it, if there is one")
    if open_runs:
        lines.append(f"not ended by then: {_shown(open_runs)}")
    if new:
        lines.append(f"begun since then: {_shown(new)}")
    lines.append(
        "`rayorch fsck --repair --salvage` gives these runs up and goes on from there; it deletes "
        "nothing, and what they have published stays visible"
    )
    return "\n".join(lines)


def is_uncertain(run: Run) -> bool:
    """Whether a run may have gone on in records that are lost.

    One that has a generation can only be published, which is done once however often it is tried.
    """
    return run.state not in ENDED and not run.generation


def _shown(runs: Iterable[str]) -> str:
    names = list(runs)
    more = len(names) - _SHOWN_MAX
    return ", ".join(names[:_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")

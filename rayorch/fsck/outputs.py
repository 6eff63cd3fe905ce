"""The places that runs write to, compared with what the home knows of them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from connectors.audit import Expected, Fault, FaultKind, Publication, Seen, audit_place, wrong_with
from connectors.errors import ConnectorError, ObjectMissingError
from connectors.formats.files import store_options
from connectors.outputs import SinkOutput, SinkSpec
from connectors.sink import open_sink
from connectors.store import open_store
from connectors.url import join_url, redact_url
from rayorch.core.facts import AttemptFinished, Event
from rayorch.core.run import ENDED, Run
from rayorch.fsck.findings import Finding, Severity
from rayorch.home import Home
from rayorch.ids import RunId

_OUTPUT: Final = msgspec.json.Decoder(SinkOutput)
_SEVERITIES: Final[Mapping[FaultKind, Severity]] = {
    "damaged": "damage",
    "doubtful": "doubt",
    "orphan": "leftover",
}
Sums = dict[RunId, dict[int, dict[str, str]]]
"""Checksums of files, by run, sink and key."""


class Commits:
    """The checksums of all files that attempts handed in, as far as the log still says them."""

    def __init__(self) -> None:
        self.sums: Final[Sums] = {}

    def watch(self, event: Event) -> None:
        """Take note of an event."""
        fact = event.fact
        if isinstance(fact, AttemptFinished):
            for result in fact.output.results:
                of_sink = self.sums.setdefault(fact.run, {}).setdefault(result.sink, {})
                if result.payload:
                    files = _OUTPUT.decode(result.payload).files
                    of_sink.update((file.key, file.checksum) for file in files)


@dataclass(slots=True)
class Place:
    """One place, and what all runs of a home have to do with it."""

    spec: SinkSpec
    publications: list[Publication] = field(default_factory=list)
    checksums: dict[str, str] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    is_seen: bool = False

    @property
    def expected(self) -> Expected:
        """What is to be found there."""
        return Expected(
            publications=tuple(self.publications),
            checksums=self.checksums,
            closed=frozenset(self.closed),
        )


def sinks_of(home: Home, run: RunId) -> list[SinkSpec]:
    """Return where a run writes to. Raises: ObjectMissingError, msgspec.DecodeError."""
    writes: list[dict[str, Any]] = home.get_json(run, "spec")["writes"]
    fields = {"name", "url", "format", "mode", "partition_by", "options"}
    return [
        msgspec.convert(
            {"index": index, **{k: v for k, v in write.items() if k in fields}}, SinkSpec
        )
        for index, write in enumerate(writes)
    ]


def places_of(
    runs: Mapping[RunId, Run], sinks: Mapping[RunId, list[SinkSpec]], sums: Sums, identity: str
) -> list[Place]:
    """Return the places that runs write to, each once; the newest run says how to reach it."""
    places: dict[str, Place] = {}
    for run in runs.values():
        for spec in sinks.get(run.id, ()):
            place = places.setdefault(spec.url, Place(spec))
            place.spec = spec
            place.checksums.update(sums.get(run.id, {}).get(spec.index, {}))
            if run.state in ENDED and run.swept:
                place.closed.add(run.id)
            published = run.published.get(spec.index)
            if published is not None and published.version.isdigit():
                place.publications.append(
                    Publication(
                        run=run.id,
                        app_id=f"rayorch/{identity}/{run.id}/{spec.name}",
                        generation=run.generation,
                        version=published.version,
                    )
                )
    return list(places.values())


def look_at_place(place: Place, *, deep: bool) -> tuple[Seen, list[tuple[Finding, Fault]]]:
    """Return what is at a place, and what is wrong with it."""
    url = place.spec.url
    try:
        seen = audit_place(place.spec, place.expected, deep=deep)
    except ConnectorError as error:
        what = f"it cannot be looked at: {error}"
        fault = Fault(kind="damaged", key="", what=what)
        finding = Finding(area="output", severity="damage", object=redact_url(url), what=what)
        return Seen(), [(finding, fault)]
    place.is_seen = True
    return seen, [(_finding(url, fault), fault) for fault in seen.faults]


def sweep_unfinished(places: Iterable[Place], before_s: float) -> int:
    """Remove what dead writers of runs that are over left half-written; return how many.

    Nothing of other runs, or of other homes: they may write there for hours.
    """
    swept = 0
    for place in places:
        # What cannot be looked at has a finding of its own.
        if place.is_seen and place.closed:
            sink = open_sink(place.spec)
            swept += sum(sink.sweep_unfinished(run, before_s) for run in sorted(place.closed))
    return swept


def _finding(url: str, fault: Fault) -> Finding:
    repair = advice = ""
    if fault.mended is not None:
        repair = "flip its one wrong bit back, as its checksum proves; what is there is kept aside"
    elif fault.kind == "orphan":
        repair = "delete it"
    elif fault.kind == "damaged":
        advice = (
            "readers see it: bring it back from a copy or an older version of the object, or run "
            "the pipeline again"
        )
    return Finding(
        area="output",
        severity=_SEVERITIES[fault.kind],
        object=redact_url(join_url(url, fault.key)),
        what=fault.what,
        repair=repair,
        advice=advice,
    )


def unpublished_findings(
    runs: Mapping[RunId, Run], sinks: Mapping[RunId, list[SinkSpec]], *, deep: bool
) -> Iterator[Finding]:
    """Yield what is wrong with files that are committed and that nobody can see yet."""
    for run in runs.values():
        for spec in sinks.get(run.id, ()):
            if spec.index in run.published or run.swept:
                continue
            store = open_store(spec.url, store_options(spec.options))
            for task, results in run.outputs.items():
                for result in results:
                    if result.sink != spec.index or not result.payload:
                        continue
                    for file in _OUTPUT.decode(result.payload).files:
                        checksum = file.checksum if deep else ""
                        what = wrong_with(store, file.key, file.size_bytes, checksum)
                        if what:
                            yield _lost(run, task, join_url(spec.url, file.key), what)


def _lost(run: Run, task: int, url: str, what: str) -> Finding:
    return Finding(
        area="output",
        severity="damage",
        object=redact_url(url),
        what=f"{what}; task {task} of {run.id} committed it, and nothing shows it yet",
        advice=f"bring it back from a copy, or `rayorch cancel {run.id}` and run it again",
    )


def read_sinks(
    home: Home, runs: Mapping[RunId, Run]
) -> tuple[dict[RunId, list[SinkSpec]], list[Finding]]:
    """Return where each run writes to, and what keeps that from being known."""
    sinks: dict[RunId, list[SinkSpec]] = {}
    findings = []
    for run in runs.values():
        try:
            sinks[run.id] = sinks_of(home, run.id)
        except (ObjectMissingError, msgspec.MsgspecError, KeyError, UnicodeDecodeError) as error:
            is_missing = isinstance(error, ObjectMissingError)
            what = "it is missing" if is_missing else f"it cannot be read ({error})"
            findings.append(
                Finding(
                    area="home",
                    severity="damage" if run.state not in ENDED else "doubt",
                    object=f"runs/{run.id}/spec.json",
                    what=f"{what}: where the run writes to is not looked at",
                )
            )
    return sinks, findings

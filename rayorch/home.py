"""The home: the folder on a store under which a control plane keeps all that it knows.

journal/log/…            the journal (rayorch.journal)
journal/snap/…
journal/mark.json        how far the log is known to go
journal/aside/…          what a repair replaced
estimates/<stage>.json   what was measured of a stage's attempts, by the content of the stage
requests/<time>-<id>     what a client without a control actor at hand asks for
refused/<time>-<id>      why that was no request, until its client has read it
runs/<run>/spec.json       what the author wrote
runs/<run>/program-<version>.pkl   the compiled pipeline that runners load
runs/<run>/plan.msgpack    discoveries and splits, as the planner cut them
runs/<run>/stage-<n>.msgpack   how a stage that reads an exchange is divided
runs/<run>/stage-<n>-<revision>.msgpack   where the bytes are that it reads
runs/<run>/exchange/<n>/…  exchange files that stage n reads, until it has
runs/<run>/reproduce.json  versions, parameters and input files: what it takes to do it again
runs/<run>/pools.json      what it was asked to keep to: pools, an objective; only if it was
runs/<run>/placement-<n>.json  what was weighed for each placement
runs/<run>/estimate.json   what the run was expected to take
runs/<run>/calibration.json and what it took
runs/<run>/profile.json    what its tasks were and took, as numbers that may be shared
runs/<run>/log/…           structured log, one JSON object a line
"""

import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec

from connectors.errors import ObjectDamagedError, ObjectMissingError, StoreUnsureError
from connectors.sealed import tailed, untailed
from connectors.splits import Discovery, Split
from connectors.store import Store, open_store
from rayorch.ids import RunId

RUNS: Final = "runs/"
REQUESTS: Final = "requests/"
REFUSED: Final = "refused/"
ESTIMATES: Final = "estimates/"
EXCHANGE: Final = "exchange/"
ASKED: Final = "pools"
IDENTITY: Final = "home.json"
UNSURE_TRIES_MAX: Final = 5


KnownSplits = tuple[list[bytes], dict[int, tuple[bytes, ...]]]


class StagePlan(msgspec.Struct, frozen=True):
    """One stage's source as it was found, and its splits, each encoded for the wire."""

    discovery: Discovery
    splits: tuple[bytes, ...]
    # Of a stage whose tasks depend on what other stages are measured to make: those stages, and
    # its splits, which are tasks of its own or are read where its rows are joined.
    waits: tuple[int, ...] = ()
    later: tuple[bytes, ...] = ()
    # Its author said how it is cut: of more data there are more splits, and not larger ones.
    is_said: bool = False

    @property
    def works(self) -> tuple[bytes, ...]:
        """What is to be read, now or later."""
        return self.splits or self.later


class RunPlan(msgspec.Struct, frozen=True):
    """The plan of a run: its tasks are the splits of all stages, in order."""

    stages: tuple[StagePlan, ...]

    @property
    def task_counts(self) -> tuple[int, ...]:
        """Tasks of each stage."""
        return tuple(len(stage.splits) for stage in self.stages)

    @property
    def waits(self) -> dict[int, tuple[int, ...]]:
        """Stages that are divided when others have been measured."""
        return {index: stage.waits for index, stage in enumerate(self.stages) if stage.waits}

    @property
    def size_bytes(self) -> int:
        """Bytes on disk of all sources, before pruning inside files."""
        return sum(stage.discovery.size_bytes for stage in self.stages)

    @property
    def files(self) -> int:
        """Files of all sources."""
        return sum(len(stage.discovery.files) for stage in self.stages)

    def split_of(self) -> list[bytes]:
        """Return the split of each task, by task id."""
        return [split for stage in self.stages for split in stage.splits]

    def known_splits(self) -> KnownSplits:
        """Return the split of each task, and those of stages that wait, by stage."""
        later = {index: stage.later for index, stage in enumerate(self.stages) if stage.later}
        return self.split_of(), later


_ENCODER: Final = msgspec.msgpack.Encoder()
_PLANS: Final = msgspec.msgpack.Decoder(RunPlan)
_SPLITS: Final = msgspec.msgpack.Decoder(Split)


def encode_split(split: Split) -> bytes:
    """Return a split as it travels with its lease."""
    return _ENCODER.encode(split)


def decode_split(data: bytes) -> Split:
    """Return the split that a lease brought."""
    return _SPLITS.decode(data)


def exchange_key(run: RunId, stage: int, name: str) -> str:
    """Return the key of an exchange file that a stage is to read."""
    return f"{RUNS}{run}/{EXCHANGE}{stage}/{name}"


class Home:
    """Typed access to everything under a home but the journal."""

    def __init__(self, store: Store, scratch: Store | None = None) -> None:
        self.store = store
        # The same place, for what is made again when the machine loses it: no write is waited for.
        self.scratch = store if scratch is None else scratch

    @property
    def url(self) -> str:
        """The home's URL."""
        return self.store.url

    def identity(self) -> str:
        """Return the name that this home gave itself when it was first used.

        Tables remember publications by it, so that a home that moves is still known to them.
        """
        try:
            data = self.store.get(IDENTITY)
        except ObjectMissingError:
            data = self._put_first(IDENTITY, msgspec.json.encode({"id": secrets.token_hex(8)}))
        return str(msgspec.json.decode(data)["id"])

    def put_program(self, run: RunId, version: str, data: bytes) -> None:
        """Keep the compiled pipeline of one version of a run."""
        self.store.put(f"{RUNS}{run}/program-{version}.pkl", tailed(data))

    def get_program(self, run: RunId, version: str) -> bytes:
        """Return the compiled pipeline. Raises: ObjectMissingError, ObjectDamagedError."""
        return self._whole(f"{RUNS}{run}/program-{version}.pkl")

    def put_plan(self, run: RunId, plan: RunPlan) -> RunPlan:
        """Keep a run's plan, unless it has one; return the one that holds.

        Two planners may work at once: one that was stopped, or whose control actor died before it
        could say that it was done, and the one that was asked next. Tasks are numbered by the plan.
        """
        key = f"{RUNS}{run}/plan.msgpack"
        return _PLANS.decode(self._put_whole(key, _ENCODER.encode(plan)))

    def get_plan(self, run: RunId) -> RunPlan:
        """Return a run's plan. Raises: ObjectMissingError, ObjectDamagedError."""
        return _PLANS.decode(self._whole(f"{RUNS}{run}/plan.msgpack"))

    def put_stage(self, run: RunId, stage: int, data: bytes) -> bytes:
        """Keep how a stage is divided, unless it is; return what holds, as in `put_plan`."""
        return self._put_whole(f"{RUNS}{run}/stage-{stage}.msgpack", data)

    def get_stage(self, run: RunId, stage: int) -> bytes:
        """Return how a stage is divided. Raises: ObjectMissingError, ObjectDamagedError."""
        return self._whole(f"{RUNS}{run}/stage-{stage}.msgpack")

    def put_stage_input(self, run: RunId, stage: int, revision: int, data: bytes) -> bytes:
        """Keep where the bytes are that a stage reads, unless that is known of this revision."""
        return self._put_whole(f"{RUNS}{run}/stage-{stage}-{revision}.msgpack", data)

    def get_stage_input(self, run: RunId, stage: int, revision: int) -> bytes:
        """Return where the bytes are that a stage reads.

        Raises: ObjectMissingError, ObjectDamagedError.
        """
        return self._whole(f"{RUNS}{run}/stage-{stage}-{revision}.msgpack")

    def collect_exchange(self, run: RunId, stage: int | None = None) -> int:
        """Delete the exchange files that a stage reads, or all of a run; return how many."""
        prefix = f"{RUNS}{run}/{EXCHANGE}" + ("" if stage is None else f"{stage}/")
        keys = [info.key for info in self.store.list(prefix)]
        self.store.delete(keys)
        return len(keys)

    def _put_whole(self, key: str, data: bytes) -> bytes:
        """Keep a document, unless there is one; return what holds."""
        return self._checked(key, self._put_first(key, tailed(data)))

    def _whole(self, key: str) -> bytes:
        """Return a document as it was kept."""
        return self._checked(key, self.store.get(key))

    def _checked(self, key: str, kept: bytes) -> bytes:
        data = untailed(kept)
        if data is None:
            raise ObjectDamagedError(self.url, key, "its checksum does not match")
        return data

    def _put_first(self, key: str, data: bytes) -> bytes:
        """Write an object unless its key is taken; return what it holds then.

        Raises: StoreUnsureError, when the store says several times over that it does not know.
        """
        for _ in range(UNSURE_TRIES_MAX - 1):
            # It may have happened: the same again, and then whatever is there counts.
            with suppress(StoreUnsureError):
                return self._first(key, data)
        return self._first(key, data)

    def _first(self, key: str, data: bytes) -> bytes:
        return data if self.store.put_if_absent(key, data) == "won" else self.store.get(key)

    def put_json(self, run: RunId, name: str, content: Mapping[str, Any]) -> None:
        """Keep a small document of a run, readable by people."""
        data = msgspec.json.format(msgspec.json.encode(content), indent=2)
        self.store.put(f"{RUNS}{run}/{name}.json", data)

    def get_json(self, run: RunId, name: str) -> dict[str, Any]:
        """Return a small document of a run. Raises: ObjectMissingError."""
        found: dict[str, Any] = msgspec.json.decode(self.store.get(f"{RUNS}{run}/{name}.json"))
        return found

    def put_asked(self, run: RunId, asked: Mapping[str, Any]) -> None:
        """Keep what a run is asked to keep to (`plan.asking`), before it is submitted."""
        self.put_json(run, ASKED, asked)

    def get_asked(self, run: RunId) -> dict[str, Any] | None:
        """Return what a run was asked to keep to; None: nothing."""
        try:
            return self.get_json(run, ASKED)
        except ObjectMissingError:
            return None

    def put_estimates(self, version: str, data: bytes) -> None:
        """Keep what was measured of one version of a stage."""
        self.store.put(f"{ESTIMATES}{version}.json", data)

    def get_estimates(self, version: str) -> bytes:
        """Return what was measured of one version of a stage. Raises: ObjectMissingError."""
        return self.store.get(f"{ESTIMATES}{version}.json")


def open_home(url: str) -> Home:
    """Open the home at a URL; nothing is created yet.

    Raises: BadUrlError, MissingExtraError.
    """
    store = open_store(url, {"durable": "true"})
    return Home(store, open_store(url) if store.url.startswith("file:") else None)

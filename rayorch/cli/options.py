"""What a command line can say, and what an exit code means."""

import shlex
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path


class Exit(IntEnum):
    """Exit codes, which scripts rely on."""

    OK = 0
    FAILED = 1  # the run failed, or something broke
    USAGE = 2  # the command, the pipeline or a setting is wrong: a person has to change it
    REFUSED = 3  # policy or contract forbids it: schemas that conflict, input that is corrupt
    BLOCKED = 4  # a budget or an SLO forbids it
    INTERRUPTED = 130  # Ctrl-C, as shells have it; the run can be resumed


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """All that the commands take; each declares which of these it does."""

    file: str = ""
    run: str = ""
    task: int | None = None
    sets: tuple[str, ...] = ()
    home: str | None = None
    executor: str | None = None
    slots: int | None = None
    takeover: bool = False
    as_json: bool = False
    follow: bool = False
    limit: int = 0
    deadline: str | None = None
    budget: float | None = None
    pools: str | None = None
    prices: str | None = None
    autoscale: bool = False
    emulate: str | None = None
    emulate_nodes: str | None = None
    by: str | None = None
    since: str | None = None
    tenant: str | None = None
    priority: int | None = None
    cheap: str | None = None
    price_max: float | None = None
    action: str = ""
    plot: str | None = None
    first: int = 0
    seeds: int = 0
    jobs: int | None = None
    nodes: int | None = None
    tasks: int | None = None
    home_given: str | None = None  # as an argument
    urls: tuple[str, ...] = ()
    repair: bool = False
    salvage: bool = False
    quick: bool = False
    # Where a run goes, and how it gets there.
    address: str | None = None
    id: str | None = None
    no_wait: bool = False
    working_dir: str | None = None
    exclude: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()
    requirements: str | None = None
    entry_label: tuple[str, ...] = ()
    entry_cpus: float | None = None
    entry_memory: str | None = None
    start_within: str | None = None
    # What a workload is to be at another size.
    output: str | None = None
    data: str | None = None
    growth: str | None = None
    every: str | None = None
    by_time: str | None = None
    start: str = "00:00"
    confidence: float = 0.95
    scenarios: int | None = None
    seed: int = 0
    # What is measured, and what is held against what.
    only: str | None = None
    peers: str | None = None
    runs: int | None = None
    scale: float | None = None
    html: str | None = None
    before: str = ""
    after: str = ""
    tolerance: float = 0.0
    kind: str = ""
    to: str = ""
    rows: int | None = None
    files: int | None = None
    scale_factor: float = 1.0
    one_run: float = 0.0

    @property
    def is_placing(self) -> bool:
        """Whether an option asks where a plan would best run."""
        given = (self.deadline, self.budget, self.pools, self.prices, self.plot, self.emulate)
        return self.autoscale or any(each is not None for each in given)

    @property
    def file_typed(self) -> str:
        """The pipeline file as it was typed, fit for a shell."""
        return shlex.quote(self.file) if self.file else "FILE"

    @property
    def file_full(self) -> str:
        """The pipeline file from the root, for whoever reads it from another folder."""
        # FILE:NAME goes through unchanged: the name is the end of the last part.
        return str(Path(self.file).expanduser().absolute())

    @property
    def home_typed(self) -> str:
        """The option that leads to the same home, as it was typed."""
        return f" --home {shlex.quote(self.home)}" if self.home else ""

    @property
    def executor_typed(self) -> str:
        """The option that names the same executor, as it was typed."""
        return f" --executor {self.executor}" if self.executor else ""

"""A workload profile: what a finished run took, as numbers that may be shared.

    runs/<run>/profile.json      kept at the run's end
    rayorch profile RUN -o FILE  the same document as a file

It has names of stages, sizes, seconds and counts; no data, no paths, no names of columns. How a
quantity is spread over tasks is a `Shape`: its quantiles at LEVELS, over its mean.

A profile of an older version is read, with what its fields were without those that came since. One
of a newer version is not: it says something that is not known here, and what is reckoned without it
would be wrong. So every new field is a new VERSION.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from rayorch.plan.errors import ProfileError
from rayorch.plan.estimate import Estimate, History, Sums, estimate_of

Floats = NDArray[np.float64]
Shape = tuple[float, ...]
Positive = Annotated[float, msgspec.Meta(gt=0.0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0.0)]

VERSION: Final = 2
"""2 since runners have sizes, starts are spread, and machines may have stood before the run."""
KIND: Final = "rayorch-profile"
LEVELS: Final = (
    *(0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95),
    *(0.97, 0.98, 0.99, 0.995, 1.0),
)
EVEN: Final[Shape] = (1.0,) * len(LEVELS)
"""All tasks alike."""


class StageProfile(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the tasks of one stage were and took.

    Units: bytes of `size_bytes` are those that the planner sizes tasks by (on disk of a source, in
    memory of an exchange), over all tasks; `spread` is of seconds over what the line of `pools`
    says, and `bias` its mean; `first_s` is what the first task on a runner takes beyond that;
    between two passes `overhead_s`, or the next is read already in the share `overlap` of a task's
    seconds; `gets`, `puts` and `moved_bytes` are of one task; `pieces` is into how many parts a
    task can be cut; `is_said` where the author said how the source is cut into tasks.
    """

    name: str
    tasks: int
    after: tuple[int, ...] = ()
    cores: Positive = 1.0
    memory_bytes: int = 0
    gpus: NotNegative = 0.0
    measured: int = 0
    files: int = 0
    size_bytes: int = 0
    rows: int = 0
    sizes: Shape = EVEN
    spread: Shape = EVEN
    bias: float = 1.0
    pools: dict[str, Sums] = {}
    out_bytes: int = 0
    exchange_bytes: int = 0
    moved_bytes: float = 0.0
    gets: float = 0.0
    puts: float = 0.0
    pieces: float = 1.0
    is_said: bool = False
    first_s: NotNegative = 0.0
    overhead_s: NotNegative = 0.0
    overlap: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.0

    def estimate(self, speeds: Mapping[str, float] | None = None) -> Estimate:
        """Return what the planner learns of the stage from this run alone.

        On pools of these stated speeds, as `estimate_of`.
        """
        return estimate_of(History(self.name, self.name, self.pools), speeds)


class Overheads(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Seconds of a run that are no attempt's.

    Units: from the submission to the plan; from it, or from when its machine was there, until a
    runner had work (the mean; `starts` is how it is spread over runners); to divide a stage once
    what it reads is there; from the last commit to the end.
    """

    plan_s: NotNegative = 0.0
    start_s: NotNegative = 0.0
    starts: Shape = EVEN
    divide_s: NotNegative = 0.0
    publish_s: NotNegative = 0.0


class RunnersSeen(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """So many runners of one size at once, at most."""

    count: Annotated[int, msgspec.Meta(ge=1)]
    cores: Positive
    memory_bytes: int = 0
    gpus: NotNegative = 0.0


class Profile(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A run, as numbers. `whole_s` from its submission to its end; `runners` the most at once.

    `sized` has those of each size, by pool, where not all were alike, or some had a GPU. `stood`
    has the pools whose machines nobody had used before: how long they had waited when the run was
    submitted, for which it paid. Of others it paid from its first use on.
    """

    kind: str
    version: int
    pipeline: str
    state: str
    stages: tuple[StageProfile, ...] = ()
    overheads: Overheads = Overheads()
    whole_s: float = 0.0
    runners: dict[str, int] = {}
    sized: dict[str, tuple[RunnersSeen, ...]] = {}
    stood: dict[str, NotNegative] = {}
    core_s: float = 0.0
    usd: float | None = None
    retries: int = 0
    resumed: int = 0
    made_by: str = ""

    @property
    def source_bytes(self) -> int:
        """Bytes of all sources."""
        return sum(stage.size_bytes for stage in self.stages if not stage.after)

    @property
    def tasks(self) -> int:
        """Tasks of all stages."""
        return sum(stage.tasks for stage in self.stages)


class _Head(msgspec.Struct, frozen=True):
    """What every version of a profile begins with."""

    kind: str = ""
    version: int = 0
    made_by: str = ""

    @property
    def writer(self) -> str:
        """Who wrote it."""
        return f"rayorch {self.made_by}" if self.made_by else "another rayorch"


def shape_of(values: Sequence[float] | Floats) -> Shape:
    """Return how values are spread over their mean; even, where there are none."""
    found = np.asarray(values, dtype=np.float64)
    mean = float(found.mean()) if found.size else 0.0
    if mean <= 0.0:
        return EVEN
    return tuple(round(float(q) / mean, 4) for q in np.quantile(found, LEVELS))


def drawn(shape: Shape, count: int) -> Floats:
    """Return so many values of a shape, from the least to the largest, with a mean of 1.

    One of each equal part of all tasks, and the largest one as it is: it is what a run waits for.
    """
    at = (np.arange(count) + 0.5) / count
    values = np.interp(at, LEVELS, shape)
    if count == 1:
        return np.ones(1)
    values[-1] = shape[-1]
    rest = values[:-1]
    wanted = count - values[-1]
    if wanted > 0.0 and rest.sum() > 0.0:
        values[:-1] = np.minimum(rest * (wanted / rest.sum()), shape[-1])
        return values
    scaled: Floats = values / values.mean()
    return scaled


def dumped(profile: Profile) -> bytes:
    """Return a profile as it is written: readable by people, numbers of a row on one line."""
    text = msgspec.json.format(msgspec.json.encode(profile), indent=1).decode()
    return (_ROWS.sub(lambda row: re.sub(r"\s+", " ", row.group()), text) + "\n").encode()


_ROWS: Final = re.compile(r"\[[^\[\]{}\"]*\]")


def parsed(data: bytes, file: str) -> Profile:
    """Return the profile that a file holds, fit to be reckoned with.

    Raises: ProfileError: it is none, of another version, of a run that did not succeed, or has a
    stage of which nothing was measured.
    """
    try:
        head = msgspec.json.decode(data, type=_Head)
    except msgspec.DecodeError as error:
        raise ProfileError(f"this is no profile: {error}", file, _AGAIN) from None
    if head.kind != KIND:
        raise ProfileError("this is no profile of a run", file, _AGAIN)
    if head.version > VERSION:
        problem = (
            f"this profile was written by a newer version, {head.writer}: it is of version "
            f"{head.version}, and up to version {VERSION} are read here"
        )
        raise ProfileError(problem, file, _UPGRADE)
    if head.version < 1:
        problem = f"this profile is of version {head.version}, which never was"
        raise ProfileError(problem, file, _AGAIN)
    try:
        profile = msgspec.json.decode(data, type=Profile)
    except msgspec.DecodeError as error:
        raise ProfileError(f"this profile is damaged: {error}", file, _AGAIN) from None
    check(profile, file)
    return profile


_UPGRADE: Final = (
    "upgrade rayorch here (`pip install --upgrade rayorch`), or export the profile again with this "
    "version, from the home of the run: `rayorch profile RUN -o FILE`"
)
_AGAIN: Final = "`rayorch profile RUN -o FILE` makes one of a finished run"


def check(profile: Profile, file: str) -> None:
    """Refuse a profile that says too little. Raises: ProfileError."""
    if profile.state != "succeeded":
        problem = f"this is the profile of a run that did not succeed: it is {profile.state}"
        raise ProfileError(problem, file, "`rayorch resume RUN`, and profile it when it is done")
    busy = [stage for stage in profile.stages if stage.tasks]
    if not busy:
        raise ProfileError("the run had no tasks", file, "profile a run that reads something")
    if not _is_shape(profile.overheads.starts):
        problem = "the distribution of the starts of runners is no list of quantiles"
        raise ProfileError(problem, file, _AGAIN)
    for number, stage in enumerate(profile.stages):
        if not (_is_shape(stage.sizes) and _is_shape(stage.spread)):
            problem = f"a distribution of stage {stage.name!r} is no list of quantiles"
            raise ProfileError(problem, file, _AGAIN)
        if any(not 0 <= each < number for each in stage.after):
            problem = f"stage {stage.name!r} comes after a stage that is not before it"
            raise ProfileError(problem, file, _AGAIN)
    unknown = [stage.name for stage in busy if not stage.measured]
    if unknown:
        problem = f"nothing was measured of {', '.join(unknown)}"
        raise ProfileError(problem, file, "run the pipeline once more, and profile that run")


def _is_shape(shape: Shape) -> bool:
    return len(shape) == len(LEVELS) and min(shape) >= 0.0 and list(shape) == sorted(shape)

"""Where estimates are kept: under the home, by the content of a stage, from run to run.

    estimates/<stage version>.json     what was measured, as sums (`History`)
    runs/<run>/estimate.json           what was expected of the run when it was planned
    runs/<run>/calibration.json        and what it took

A stage's version is what it does, not where its data lies: tomorrow's files have today's estimates.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from connectors.errors import ObjectMissingError
from connectors.splits import Split
from rayorch.code_hash import code_hash
from rayorch.home import Home, RunPlan, decode_split
from rayorch.ids import RunId
from rayorch.plan.estimate import Calibration, Estimate, History, Work, estimate_of
from rayorch.program import Program, StageProgram

EXPECTED: Final = "estimate"
CALIBRATION: Final = "calibration"
_ENCODER: Final = msgspec.json.Encoder()
_HISTORIES: Final = msgspec.json.Decoder(History)

logger = logging.getLogger(__name__)


class ExpectedStage(msgspec.Struct, frozen=True):
    """What was expected of a stage when its run was planned, on a pool of speed 1."""

    name: str
    version: str
    tasks: int
    seconds: float  # of all its tasks, one after the other
    cv: float  # of one task
    measured_before: int


class Expected(msgspec.Struct, frozen=True):
    """What was expected of a run."""

    stages: tuple[ExpectedStage, ...] = ()


class Calibrations(msgspec.Struct, frozen=True):
    """What was predicted of a run's attempts, and what they took, by stage."""

    stages: tuple[Calibration, ...] = ()


def stage_version(stage: StageProgram, program: Program) -> str:
    """Return the content hash of what a stage's tasks do, wherever they read and write.

    Of an exchange, both who fills it and who reads it do some of the operator's work.
    """
    content: list[object] = [
        _source_content(stage, program),
        [(step.kind, step.input, code_hash(step.code)) for step in stage.steps],
        [
            (program.sinks[edge.sink].format, program.sinks[edge.sink].partition_by, edge.step)
            for edge in stage.sinks
        ],
        stage.resources.cores,
    ]
    if stage.exchanges:
        codes = [program.exchanges[edge.exchange].code for edge in stage.exchanges]
        content.append(
            [
                (code_hash(code), edge.side, edge.step)
                for code, edge in zip(codes, stage.exchanges, strict=True)
            ]
        )
    text = json.dumps(content, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8, usedforsecurity=False).hexdigest()


def _source_content(stage: StageProgram, program: Program) -> list[object]:
    if stage.exchange is None:
        return [stage.files.format, stage.columns, code_hash(stage.predicate), *stage.optional]
    code = program.exchanges[stage.exchange].code
    return [code.kind, code_hash(code), *(["merges"] if stage.merges else [])]


def load_history(home: Home, version: str, stage: str) -> History:
    """Return what was measured of a stage version; an empty history, when nothing was.

    Raises: StoreError.
    """
    try:
        return _HISTORIES.decode(home.get_estimates(version))
    except ObjectMissingError:
        return History(version, stage)
    except msgspec.DecodeError as error:
        # Estimates are worth no run: a record that cannot be read begins anew.
        logger.warning("estimates begin anew. version=%s, reason=%s", version, error)
        return History(version, stage)


def save_history(home: Home, history: History) -> None:
    """Keep what was measured of a stage version. Raises: StoreError."""
    home.put_estimates(history.version, msgspec.json.format(_ENCODER.encode(history), indent=1))


def load_histories(home: Home, program: Program) -> tuple[History, ...]:
    """Return what was measured of each stage of a program. Raises: StoreError."""
    return tuple(
        load_history(home, stage_version(stage, program), stage.name) for stage in program.stages
    )


def work_of(split: Split) -> Work:
    """Return what a split says of its task, before it runs and after."""
    rows = split.rows if split.rows is not None else split.hi - split.lo
    return Work(size_bytes=split.size_bytes, rows=max(0, rows))


def works_of(splits: Iterable[bytes]) -> list[Work]:
    """Return what encoded splits say of their tasks."""
    return [work_of(decode_split(split)) for split in splits]


def expected_of(histories: Sequence[History], plan: RunPlan) -> Expected:
    """Return what a plan's stages are expected to take."""
    stages = []
    for history, stage in zip(histories, plan.stages, strict=True):
        estimate = estimate_of(history)
        works = works_of(stage.works)
        stages.append(
            ExpectedStage(
                name=history.stage,
                version=history.version,
                tasks=len(works),
                seconds=sum(map(estimate.mean_s, works)),
                cv=_cv(estimate),
                measured_before=estimate.attempts,
            )
        )
    return Expected(tuple(stages))


def _cv(estimate: Estimate) -> float:
    return estimate.seconds(Work()).cv


def put_expected(home: Home, run: RunId, expected: Expected) -> None:
    """Keep what is expected of a run. Raises: StoreError."""
    home.put_json(run, EXPECTED, msgspec.to_builtins(expected))


def get_expected(home: Home, run: RunId) -> Expected:
    """Return what was expected of a run; nothing before it was planned. Raises: StoreError."""
    try:
        return msgspec.convert(home.get_json(run, EXPECTED), Expected)
    except ObjectMissingError:
        return Expected()


def put_calibrations(home: Home, run: RunId, calibrations: Calibrations) -> None:
    """Keep how a run's estimates turned out. Raises: StoreError."""
    home.put_json(run, CALIBRATION, msgspec.to_builtins(calibrations))


def get_calibrations(home: Home, run: RunId) -> Calibrations:
    """Return how a run's estimates turned out; nothing before its end. Raises: StoreError."""
    try:
        return msgspec.convert(home.get_json(run, CALIBRATION), Calibrations)
    except ObjectMissingError:
        return Calibrations()

"""What a transform needs of a machine, and how often it may fail."""

from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from rayorch.spec.fields import Bytes, Name, Seconds, SpecModel, UserModel

CORES_MAX: Final = 4096
GPUS_MAX: Final = 1024
GPU_PART_MIN: Final = 0.0001  # the least part of a device that Ray counts
USES_MAX: Final = 1_000_000
ATTEMPTS_MAX: Final = 100  # more than this is a loop, not a retry


def _error_names(value: object) -> object:
    """Return names of exception classes; classes themselves are understood."""
    if isinstance(value, type | str):
        value = (value,)
    if not isinstance(value, tuple | list | set | frozenset):
        return value
    names = []
    for item in value:
        if isinstance(item, str):
            names.append(item)
        elif isinstance(item, type) and issubclass(item, BaseException):
            names.append(f"{item.__module__}.{item.__qualname__}".removeprefix("builtins."))
        else:
            raise ValueError("transient errors are exception classes, or names of such")  # noqa: TRY004
    return tuple(sorted(names))


def _whole_above_one(gpus: float | None) -> float | None:
    # A part of one device can be shared out; a part of several would be a part of each.
    if gpus is not None and gpus > 1 and gpus != int(gpus):
        raise ValueError("a part of one GPU, such as 0.5, or a whole number of them")
    return gpus


class Resources(SpecModel):
    """What one attempt needs. Nothing said means: what the planner takes as usual."""

    memory_bytes: Bytes | None = Field(default=None, description="Peak memory of one attempt.")
    cores: float | None = Field(default=None, gt=0, le=CORES_MAX)
    gpus: Annotated[float | None, AfterValidator(_whole_above_one)] = Field(
        default=None, ge=GPU_PART_MIN, le=GPUS_MAX, description="GPUs, or a part of one."
    )
    labels: dict[str, str] = Field(default_factory=dict, description="Labels a node must have.")
    uses: dict[Name, Annotated[int, Field(ge=1, le=USES_MAX)]] = Field(
        default_factory=dict, description="Outside resources that an attempt holds, and how much."
    )


class RetryPolicy(UserModel):
    """How often a task is tried, and how long to wait between tries.

    An exception of the user's function fails the task at once, unless its class (or a base class
    of it) is named in `transient_errors`. A task that `strikes_max` runners died of is
    quarantined: say more where processes are killed that did nothing wrong.
    """

    attempts_max: int = Field(default=4, ge=1, le=ATTEMPTS_MAX)
    strikes_max: int = Field(default=3, ge=1, le=ATTEMPTS_MAX)
    backoff_s: Seconds = Field(default=1.0, ge=0.0)
    backoff_s_max: Seconds = Field(default=60.0, ge=0.0)
    transient_errors: Annotated[tuple[str, ...], BeforeValidator(_error_names)] = ()
    timeout_s: Annotated[Seconds, Field(gt=0.0)] | None = None

    @model_validator(mode="after")
    def _waits_grow(self) -> "RetryPolicy":
        if self.backoff_s > self.backoff_s_max:
            raise ValueError(
                "backoff_s must not exceed backoff_s_max. "
                f"backoff_s={self.backoff_s:g}, backoff_s_max={self.backoff_s_max:g}"
            )
        return self

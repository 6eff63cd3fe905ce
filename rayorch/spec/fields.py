"""The kinds of field that specs share, and how a refusal of one becomes a readable error."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from rayorch.errors import SpecError, near_miss

NAME_CHARS_MAX: Final = 128  # names become parts of paths, and many stores stop at 255 bytes
VALUE_CHARS_MAX: Final = 80  # an error is read on a terminal

_UNITS: Final = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_SIZE: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")


# What pydantic says of these is about Python's types, not about what the user wrote.
_PLAIN: Final = {
    "extra_forbidden": "unknown field",
    "missing": "required field is missing",
    "too_short": "at least {min_length} needed, {actual_length} given",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "string_type": "must be text",
    "model_attributes_type": "must be an objective: Deadline, Budget or Weighted",
}
# What other engines call it, where no near miss would lead from one word to the other.
_SYNONYMS: Final = {
    "avg": "mean",
    "average": "mean",
    "stddev": "std",
    "variance": "var",
    "median": "approx_quantile",
    "percentile": "approx_quantile",
    "quantile": "approx_quantile",
    "nunique": "count_distinct",
    "shift": "lag",
    "outer": "full",
}
_MEMBERS: Final = (("bool",), ("int",), ("float",), ("str",))


class SpecModel(BaseModel):
    """Base of what a user writes: frozen, and nothing unknown in it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def of(cls, pipeline: str, transform: str, fields: dict[str, Any]) -> Self:
        """Build from values as a user gave them.

        Raises: SpecError, naming the first field that is refused, its value and a near miss.
        """
        try:
            return cls(**fields)
        except ValidationError as error:
            raise spec_error(error, pipeline, transform) from None
        except SpecError as error:
            raise error.located(pipeline, transform) from None


class UserModel(SpecModel):
    """Base of what users build by calling the class: refused with the same readable error."""

    def __init__(self, **fields: object) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise spec_error(error, "", type(self).__name__) from None


def shown(value: object) -> str:
    """Return the value as an error shows it: quoted, and not too long."""
    text = repr(value)
    return text if len(text) <= VALUE_CHARS_MAX else f"{text[:VALUE_CHARS_MAX]}..."


def checked_name(value: object) -> object:
    """Return the name, or say what is wrong with it."""
    if not isinstance(value, str):
        # Pydantic takes a ValueError for a refusal and lets a TypeError through as a bug.
        raise ValueError(f"a name must be a string, not {type(value).__name__}")  # noqa: TRY004
    if not value:
        raise ValueError("a name must not be empty")
    if len(value) > NAME_CHARS_MAX:
        raise ValueError(f"a name has at most {NAME_CHARS_MAX} characters, this one {len(value)}")
    bad = sorted({char for char in value if not (char.isalnum() or char in "_-. ")})
    if bad:
        # Names become parts of paths and of metric labels.
        raise ValueError(
            "a name holds letters, digits, '_', '-', '.' and spaces, "
            f"not {' '.join(repr(char) for char in bad)}"
        )
    if ".." in value or value != value.strip(" ") or value.startswith("."):
        raise ValueError("a name must not hold '..', begin with '.', or begin or end with a space")
    return value


def parsed_bytes(value: object) -> object:
    """Return a size in bytes from an int, or from text such as '1 GiB' or '500MB'."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("a size is an int or text like '1 GiB'")  # noqa: TRY004 - as above.
    if isinstance(value, int):
        return value
    match = _SIZE.fullmatch(value)
    if match is None:
        raise ValueError("a size is a number and a unit, like '1 GiB' or '500 MB'")
    number, unit = match.groups()
    if unit.lower() not in _UNITS:
        hint = f"{number} {unit[0].upper()}iB" if unit[0].lower() in "kmgt" else "1 GiB"
        raise ValueError(f"unknown unit {unit!r} of a size; did you mean '{hint}'?")
    return int(float(number) * _UNITS[unit.lower()])


def parsed_duration_s(value: object) -> object:
    """Return seconds from a number or a timedelta."""
    return value.total_seconds() if isinstance(value, timedelta) else value


Name = Annotated[str, BeforeValidator(checked_name)]
"""A name of a pipeline, dataset, read or write."""

Bytes = Annotated[int, BeforeValidator(parsed_bytes), Field(ge=1)]
"""A size in bytes; text with a unit is understood."""

Seconds = Annotated[float, BeforeValidator(parsed_duration_s)]
"""A duration in seconds; a timedelta is understood."""

ParamValue = bool | int | float | str | None
"""The value of a parameter, as `--set` and JSON can carry it."""


def spec_error(error: ValidationError, pipeline: str, transform: str) -> SpecError:
    """Return the most telling refusal as one readable error, with a near miss if there is one."""
    # A misspelt field shows up twice, as an unknown one and a missing one: the first has the hint.
    details = sorted(
        error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden"
    )
    first = details[0]
    kind = first["type"]
    # Of a union, pydantic names the member that refused: no field that a user knows.
    loc = first["loc"] if first["loc"][-1:] not in _MEMBERS else first["loc"][:-1]
    field = ".".join(str(part) for part in loc)
    valueless = kind in {"extra_forbidden", "missing"} or not field
    hint = _hint(kind, first.get("ctx", {}), first["input"], field.rpartition(".")[2])
    problem = _problem(kind, str(first["msg"]), first.get("ctx", {}))
    problem = problem if loc == first["loc"] else "must be text, a number, or true or false"
    value = "" if valueless else shown(first["input"])
    return SpecError(problem, pipeline, transform, field, value, "", hint)


def _problem(kind: str, message: str, ctx: Mapping[str, object]) -> str:
    if kind in _PLAIN:
        return _PLAIN[kind].format(**ctx)
    text = message.removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def _hint(kind: str, ctx: Mapping[str, object], value: object, field: str) -> str:
    if kind == "extra_forbidden":
        return near_miss(field, _field_names(SpecModel) - {field})
    if kind == "literal_error" and isinstance(value, str):
        known = re.findall(r"'([^']*)'", str(ctx.get("expected", "")))
        meant = _SYNONYMS.get(value.lower(), "")
        return f"did you mean {meant!r}?" if meant in known else near_miss(value, known)
    return ""


def _field_names(model: type[BaseModel]) -> set[str]:
    """Return the fields of all specs: which of them a nested error is about, pydantic keeps."""
    inner = [_field_names(each) for each in model.__subclasses__()]
    return set(model.model_fields).union(*inner)

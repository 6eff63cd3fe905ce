"""YAML and JSON as people write it, and how a model's refusal of it becomes one readable error."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ValidationError

from rayorch.errors import PoolsError, near_miss
from rayorch.spec.fields import shown

_PROBLEMS: Final = {
    "model_type": "a mapping is needed",
    "too_short": "at least one pool is needed",
}


def text_of(file: str) -> str:
    """Return the text of a file. Raises: PoolsError."""
    try:
        return Path(file).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise PoolsError(f"the file cannot be read: {reason.lower()}", file, "", "") from None


def loaded(text: str, file: str) -> Any:  # noqa: ANN401 - whatever YAML can hold.
    """Return what a YAML or JSON text holds. Raises: PoolsError."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - it is a safe loader.
    except yaml.YAMLError as error:
        raise PoolsError("not YAML or JSON", file, "", _first_line(error)) from None
    # Of a date or a number that is none, and of what is nested too deeply.
    except (ValueError, RecursionError) as error:
        raise PoolsError("not YAML or JSON", file, "", str(error)) from None


def refusal(
    error: ValidationError,
    given: Mapping[str, Any],
    file: str,
    known: Mapping[str, type[BaseModel]],
) -> PoolsError:
    """Return the most telling refusal: a misspelt field before the one that is missing for it.

    `known` has the model of what stands under a name; that of the whole file is under "".
    """
    details = sorted(
        error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden"
    )
    first = details[0]
    where = _where(first["loc"], given)
    field = str(first["loc"][-1]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        within = [str(part) for part in first["loc"][:-1] if str(part) in known]
        hint = near_miss(field, known[within[-1] if within else ""].model_fields)
        return PoolsError(f"unknown field{'; ' + hint if hint else ''}", file, where, "")
    if first["type"] == "missing":
        return PoolsError("required field is missing", file, where, "")
    kind, value = first["type"], first["input"]
    problem = _PROBLEMS.get(kind, str(first["msg"]).removeprefix("Value error, "))
    if isinstance(value, float) and not math.isfinite(value):
        problem = "must be a finite number"
    told = "" if isinstance(value, dict | list) else shown(value)
    return PoolsError(problem[:1].lower() + problem[1:], file, where, told)


def _where(loc: tuple[int | str, ...], given: Mapping[str, Any]) -> str:
    """Return a field's place, with the name of what is in a list where it has one."""
    parts: list[str] = []
    for at, part in enumerate(loc):
        if at == 1 and isinstance(part, int):
            entry = given[str(loc[0])][part]
            name = entry.get("name") if isinstance(entry, dict) else None
            parts[-1] = f"{loc[0]}[{name if isinstance(name, str) else part}]"
        else:
            parts.append(str(part))
    return ".".join(parts)


class _Loader(yaml.SafeLoader):  # type: ignore[misc] # PyYAML has no types.
    """Refuses a key that is there twice: one of its values would be dropped without a word."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401 - as in PyYAML.
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                problem = f"{shown(key.value)} is there twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(str(key.value))
        return node


def _first_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    at = f"line {mark.line + 1}: " if mark is not None else ""
    return f"{at}{getattr(error, 'problem', None) or str(error).partition(chr(10))[0]}"

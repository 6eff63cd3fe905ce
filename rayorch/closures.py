"""What a user's function carries along: globals, closure cells, defaults."""

import dis
import functools
import importlib.util
import site
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Final

_OURS: Final = ("rayorch", "connectors", "placement")
_GLOBAL_READS: Final = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})


def code_objects(code: CodeType) -> Iterator[CodeType]:
    """Yield the code object and all that are nested in it, in order of appearance."""
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from code_objects(const)


def global_names(code: CodeType) -> tuple[str, ...]:
    """Return the names of the globals that the code reads, sorted."""
    names = {
        str(instruction.argval)
        for part in code_objects(code)
        for instruction in dis.get_instructions(part)
        if instruction.opname in _GLOBAL_READS
    }
    return tuple(sorted(names))


def attribute_names(code: CodeType) -> tuple[str, ...]:
    """Return all global and attribute names in the code, sorted."""
    return tuple(sorted({name for part in code_objects(code) for name in part.co_names}))


def reached(function: FunctionType) -> dict[str, object]:
    """Return what the function carries along: name -> value, for names that have a value."""
    found: dict[str, object] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # the cell is empty: its variable was not assigned yet
            continue
    for name in global_names(function.__code__):
        if name in function.__globals__ and name not in found:
            found[name] = function.__globals__[name]
    for name, value in defaults(function).items():
        found.setdefault(name, value)
    return found


def defaults(function: FunctionType) -> dict[str, object]:
    """Return the default values of the function's parameters by name."""
    code = function.__code__
    positional = code.co_varnames[: code.co_argcount]
    values = function.__defaults__ or ()
    with_default = positional[len(positional) - len(values) :]
    return {**dict(zip(with_default, values, strict=True)), **(function.__kwdefaults__ or {})}


def unwrapped(function: object) -> FunctionType | None:
    """Return the plain Python function behind a partial, a bound method or a callable object."""
    while isinstance(function, functools.partial):
        function = function.func
    if isinstance(function, MethodType):
        function = function.__func__
    if not isinstance(function, FunctionType | type):
        function = getattr(type(function), "__call__", None)  # noqa: B004 - we want the function.
    return function if isinstance(function, FunctionType) else None


def source_place(function: Callable[..., object]) -> str:
    """Return the file and line where a person finds the function, or nothing."""
    plain = unwrapped(function)
    if plain is None:
        return ""
    return f"{plain.__code__.co_filename}:{plain.__code__.co_firstlineno}"


@functools.cache
def _library_folders() -> tuple[Path, ...]:
    paths = {sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    return tuple(Path(path) for path in {*paths, *site.getsitepackages()} if path)


@functools.lru_cache(maxsize=4096)
def _in_library(file: str) -> bool:
    return any(Path(file).is_relative_to(folder) for folder in _library_folders())


def installed(module_name: str) -> bool:
    """Say whether a module is part of the environment (Python, a distribution, rayorch itself).

    Such a module is the same on every runner of a run; any other belongs to the user and may have
    been edited since a warm runner imported it.
    """
    if module_name.partition(".")[0] in _OURS:
        return True
    if module_name == "__main__":
        return False
    file = getattr(sys.modules.get(module_name), "__file__", None)
    return _in_library(file) if isinstance(file, str) else _found_installed(module_name)


def _found_installed(module_name: str) -> bool:
    if module_name in sys.builtin_module_names or module_name in sys.modules:
        return True
    try:
        spec = importlib.util.find_spec(module_name)
    except (ImportError, ValueError):  # a parent is missing or is no package
        return False
    return spec is not None and (spec.origin is None or _in_library(spec.origin))


def user_modules() -> list[ModuleType]:
    """Return the imported modules that belong to the user, sorted by name."""
    return [
        module
        for name, module in sorted(sys.modules.items())
        if name == getattr(module, "__name__", None)  # a program may put anything there
        and isinstance(getattr(module, "__file__", None), str)
        and not installed(name)
        and name != "__main__"
    ]

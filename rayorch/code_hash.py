"""The content of a user's function as a hash: what it does, not where it stands.

Bytecode, constants, names, defaults, closure cells and everything of the user's that it reaches
count, in whatever module that is. File names, line numbers and comments do not. What is installed
counts by its name: its versions are recorded with the run. Bytecode differs between Python's minor
versions, so hashes do too.

A value is hashed by its structure, not by its pickle: pickles depend on identity and on the order
of sets, which differ between processes.
"""

import dis
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from rayorch.closures import attribute_names, code_objects, defaults, global_names, installed

_DIGEST_BYTES: Final = 16
# Of a class's namespace, what says where and how it was written, not what it does. Python 3.13
# fills __static_attributes__ in the order of a set.
_CLASS_NOISE: Final = frozenset(
    {
        "__dict__",
        "__weakref__",
        "__module__",
        "__doc__",
        "__firstlineno__",
        "__static_attributes__",
        "__annotate__",
        "__annotations_cache__",
        "__abstractmethods__",
        "_abc_impl",
    }
)


# Wrappers around functions: pickle would take them by name, or not at all.
_PARTS: Final[dict[type, Callable[[Any], tuple[object, ...]]]] = {
    MethodType: lambda it: (it.__func__, it.__self__),
    functools.partial: lambda it: (it.func, it.args, it.keywords),
    type(functools.lru_cache(len)): lambda it: (it.__wrapped__, it.cache_parameters()),
    functools.cached_property: lambda it: (it.func,),
    property: lambda it: (it.fget, it.fset, it.fdel),
    staticmethod: lambda it: (it.__func__,),
    classmethod: lambda it: (it.__func__,),
}


def code_hash(code: object) -> str:
    """Return the hash of a function, or of any value that a transform executes."""
    return _Hasher().digest(code).hex()


def _mixed(tag: str, parts: Iterable[bytes]) -> bytes:
    mixed = hashlib.blake2b(tag.encode(), digest_size=_DIGEST_BYTES, usedforsecurity=False)
    for part in parts:
        # The length keeps ("ab", "c") and ("a", "bc") apart.
        mixed.update(len(part).to_bytes(8, "little"))
        mixed.update(part)
    return mixed.digest()


class _Hasher:
    """One walk over a function and what it reaches."""

    def __init__(self) -> None:
        self._done: dict[int, bytes] = {}
        self._open: dict[int, int] = {}
        # Ids are only unique among living objects: parts made during the walk must stay alive.
        self._alive: list[object] = []

    def digest(self, value: object) -> bytes:
        """Return the digest of a value, with cycles cut by how deep they lead back."""
        scalar = _scalar(value)
        if scalar is not None:
            return scalar
        key = id(value)
        if key in self._done:
            return self._done[key]
        if key in self._open:
            return _mixed("cycle", [str(self._open[key]).encode()])
        self._alive.append(value)
        self._open[key] = len(self._open)
        try:
            result = self._structured(value)
        finally:
            del self._open[key]
        self._done[key] = result
        return result

    def _structured(self, value: Any) -> bytes:  # noqa: ANN401 - one case per type.
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, CodeType):
            return self._code(value)
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, ModuleType):
            return self._module(value, ())
        parts = _PARTS.get(type(value))
        return self._container(value) if parts is None else self._all(_tag(value), parts(value))

    def _container(self, value: object) -> bytes:
        if type(value) in {list, tuple}:
            return self._all(type(value).__name__, value)  # type: ignore[arg-type]
        if type(value) is dict:
            return _mixed("dict", self._pairs(value))
        if isinstance(value, set | frozenset):
            # Members are hashed by fresh walks: what one adds to the memo must not depend on order.
            return _mixed("set", sorted(_Hasher().digest(item) for item in value))
        return self._instance(value)

    def _all(self, tag: str, values: Iterable[object]) -> bytes:
        return _mixed(tag, [self.digest(item) for item in values])

    def _pairs(self, mapping: Mapping[Any, object]) -> list[bytes]:
        return [part for key in mapping for part in (self.digest(key), self.digest(mapping[key]))]

    def _function(self, function: FunctionType) -> bytes:
        if _by_name(function):
            return _mixed("installed", [_label(function)])
        cells = []
        for cell in function.__closure__ or ():
            try:
                cells.append(self.digest(cell.cell_contents))
            except ValueError:  # the cell is empty
                cells.append(b"")
        reached = []
        names = attribute_names(function.__code__)
        for name in global_names(function.__code__):
            if name in function.__globals__:
                value = function.__globals__[name]
                module = isinstance(value, ModuleType)
                digest = self._module(value, names) if module else self.digest(value)
                reached += [name.encode(), digest]
        imports = [self._imported(name) for name in _imported_modules(function.__code__)]
        return _mixed(
            "function",
            [
                self._code(function.__code__),
                self.digest(defaults(function)),
                _mixed("cells", cells),
                _mixed("globals", reached),
                _mixed("imports", imports),
            ],
        )

    def _code(self, code: CodeType) -> bytes:
        counts = (
            code.co_argcount,
            code.co_posonlyargcount,
            code.co_kwonlyargcount,
            code.co_flags,
        )
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        return _mixed(
            "code",
            [
                code.co_code,
                repr(counts).encode(),
                repr(names).encode(),
                code.co_exceptiontable,
                self._all("consts", code.co_consts),
            ],
        )

    def _class(self, cls: type) -> bytes:
        if installed(cls.__module__) or cls.__module__ == "builtins":
            return _mixed("installed", [_label(cls)])
        parts = [cls.__qualname__.encode(), *(self.digest(base) for base in cls.__bases__)]
        for name, value in sorted(vars(cls).items()):
            if name not in _CLASS_NOISE:
                parts += [name.encode(), self.digest(value)]
        return _mixed("class", parts)

    def _module(self, module: ModuleType, names: Iterable[str]) -> bytes:
        """Return the digest of what is used of a module: its attributes that the code names."""
        if installed(module.__name__):
            return _mixed("installed", [module.__name__.encode()])
        parts = []
        for name in names:
            if name in vars(module):
                value = vars(module)[name]
                # `package.module.function`: the code names all three.
                inner = isinstance(value, ModuleType) and value is not module
                digest = self._module(value, names) if inner else self.digest(value)
                parts += [name.encode(), digest]
        return _mixed("module", parts)

    def _imported(self, name: str) -> bytes:
        """Return the digest of a module that the function imports while it runs."""
        if installed(name):
            return _mixed("installed", [name.encode()])
        source = _source_of(name)
        if source is None:
            return _mixed("absent", [name.encode()])
        # Compiled and not run: importing it here would be earlier than its author meant.
        return self._code(compile(source, name, "exec", dont_inherit=True))

    def _instance(self, value: Any) -> bytes:  # noqa: ANN401 - any object that can be pickled.
        try:
            reduced = value.__reduce_ex__(4)
        # Other people's code: what cannot be reduced cannot be shipped either, and that error is
        # raised, with the variable's name, where the program is dumped.
        except Exception:
            return _mixed("opaque", [_tag(value).encode()])
        if isinstance(reduced, str):
            return _mixed("global", [_tag(value).encode(), reduced.encode()])
        make, arguments, *rest = reduced
        state, items, pairs = [*rest, None, None, None][:3]
        return self._all(
            "instance",
            (make, arguments, state, list(items or ()), [list(pair) for pair in pairs or ()]),
        )


def _scalar(value: object) -> bytes | None:
    if isinstance(value, bytes | bytearray):
        return _mixed(type(value).__name__, [bytes(value)])
    if isinstance(value, memoryview):
        return _mixed("memoryview", [value.tobytes()])
    if value is None or value is Ellipsis or value is NotImplemented:
        return _mixed("constant", [repr(value).encode()])
    if type(value) in {bool, int, float, complex, str, range}:
        return _mixed(type(value).__name__, [repr(value).encode()])
    if type(value).__module__ == "pyarrow.lib" and type(value).__name__ == "Buffer":
        return _mixed("memoryview", [memoryview(value)])  # type: ignore[list-item, arg-type]
    return None


def _by_name(function: Callable[..., object]) -> bool:
    module = getattr(function, "__module__", None)
    return isinstance(module, str) and "<locals>" not in function.__qualname__ and installed(module)


def _label(value: Any) -> bytes:  # noqa: ANN401 - a class or a function.
    return f"{value.__module__}:{value.__qualname__}".encode()


def _tag(value: object) -> str:
    return _label(type(value)).decode()


def _imported_modules(code: CodeType) -> tuple[str, ...]:
    names = {
        str(instruction.argval)
        for part in code_objects(code)
        for instruction in dis.get_instructions(part)
        if instruction.opname == "IMPORT_NAME" and instruction.argval
    }
    return tuple(sorted(names))


def _source_of(module_name: str) -> bytes | None:
    file = getattr(sys.modules.get(module_name), "__file__", None)
    if file is None:
        try:
            spec = importlib.util.find_spec(module_name)
        except (ImportError, ValueError):  # a parent is missing or is no package
            return None
        file = spec.origin if spec is not None else None
    path = Path(file) if file else None
    return (
        path.read_bytes() if path is not None and path.suffix == ".py" and path.exists() else None
    )

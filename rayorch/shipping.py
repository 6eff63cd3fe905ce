"""How a user's functions travel to runners: by reference when installed, else by value.

Runners stay warm between runs. A function of a file of the user's that went by reference would run
as it was when the runner first imported it; so everything outside Python's and the environment's
own folders goes by value, helpers in other modules included.
"""

import functools
import io
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final, TypeVar

import cloudpickle

from rayorch.closures import attribute_names, installed, reached, source_place, user_modules
from rayorch.errors import SpecError

SHIPPED_BYTES_MAX: Final = 100 * 2**20  # every runner loads it before its first task
_CACHED: Final = type(functools.lru_cache(len))
_DEPTH_MAX: Final = 8  # how far the search for what cannot be shipped goes down

_registry_lock = threading.Lock()  # cloudpickle's list of modules by value is the process's


class _TooLargeError(Exception):
    """More bytes than may be shipped."""


class _Bounded(io.BytesIO):
    """A buffer that refuses to grow past what may be shipped."""

    def write(self, data: object) -> int:
        """Append, or raise when the limit is passed."""
        size = memoryview(data).nbytes  # type: ignore[arg-type]  # pickle hands over buffers only
        if self.tell() + size > SHIPPED_BYTES_MAX:
            raise _TooLargeError
        return super().write(data)  # type: ignore[arg-type]


class _Counting(io.RawIOBase):
    """A file that counts what is written and keeps nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.size_bytes = 0

    def write(self, data: object) -> int:
        """Count."""
        size = memoryview(data).nbytes  # type: ignore[arg-type]
        self.size_bytes += size
        return size


Sink = TypeVar("Sink", _Bounded, _Counting)


def dumped(value: object, pipeline: str, parts: Mapping[str, object]) -> bytes:
    """Return the value as bytes; `parts` are the transforms' codes in it, by transform.

    Raises: SpecError, naming the transform and variable that cannot be shipped or is too large.
    """
    with _user_modules_by_value():
        try:
            return _written(value, _Bounded).getvalue()
        except _TooLargeError:
            raise _size_error(pipeline, parts) from None
        # Anything may raise here: __reduce__ of a captured object is other people's code.
        except Exception as error:
            raise _cannot_ship_error(pipeline, parts, error) from error


def _written(value: object, make_sink: Callable[[], Sink]) -> Sink:
    """Return a sink that holds the value, the user's modules cut to what the code names of them.

    What is named is known only after all code was seen: with modules, a second pass is needed, and
    another while what it adds names yet more.
    """
    names: frozenset[str] = frozenset()
    while True:
        sink = make_sink()
        pickler = _Pickler(sink, names)
        pickler.dump(value)
        if not pickler.met_module or pickler.names <= names:
            return sink
        names |= pickler.names


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """Cloudpickle, but for the user's modules and cached functions.

    Cloudpickle sends all of a module. One that is no part of the environment often holds a lock, a
    client or a large table that no transform uses: only what code names goes along.
    """

    def __init__(self, sink: _Bounded | _Counting, names: frozenset[str]) -> None:
        super().__init__(sink, protocol=5)
        self.names: set[str] = set()
        self.met_module = False
        self._named = names

    def reducer_override(self, value: Any) -> Any:  # noqa: ANN401 - as pickle says.
        """Return how to rebuild the value, or leave it to cloudpickle."""
        if isinstance(value, ModuleType) and not installed(value.__name__):
            self.met_module = True
            used = {name: vars(value)[name] for name in sorted(self._named & vars(value).keys())}
            return _empty_module, (value.__name__,), used, None, None, _fill_module
        if isinstance(value, FunctionType) and not installed(value.__module__ or "__main__"):
            self.names.update(attribute_names(value.__code__))
        # functools.cache pickles by name alone, which a runner would look up in vain.
        if type(value) is _CACHED and not installed(value.__module__):
            limits = value.cache_parameters()
            return _cached, (value.__wrapped__, limits["maxsize"], limits["typed"])
        return super().reducer_override(value)


def _empty_module(name: str) -> ModuleType:
    module = ModuleType(name)

    def missing(attribute: str) -> object:
        raise AttributeError(
            f"{name}.{attribute} did not come along: no code names it. "
            f"Name it in a function (`{name}.{attribute}`) instead of looking it up by text"
        )

    module.__getattr__ = missing  # type: ignore[method-assign]
    return module


def _fill_module(module: ModuleType, used: dict[str, object]) -> None:
    vars(module).update(used)


def _cached(function: Callable[..., object], maxsize: int | None, typed: bool) -> object:
    return functools.lru_cache(maxsize=maxsize, typed=typed)(function)


@contextmanager
def _user_modules_by_value() -> Iterator[None]:
    with _registry_lock:
        before = cloudpickle.list_registry_pickle_by_value()
        added = [module for module in user_modules() if module.__name__ not in before]
        for module in added:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in added:
                cloudpickle.unregister_pickle_by_value(module)


def _carried(value: object) -> dict[str, object]:
    """Return what a value takes along, by the name a person knows it under."""
    carried: dict[str, object] = {}
    if isinstance(value, FunctionType):
        carried = _reached_by_name(value)
    elif isinstance(value, MethodType):
        carried = {"self": value.__self__, value.__name__: value.__func__}
    elif isinstance(value, functools.partial):
        bound = {f"argument {index}": item for index, item in enumerate(value.args)}
        carried = {"function": value.func, **bound, **value.keywords}
    elif isinstance(value, dict):
        carried = {f"[{key!r}]": item for key, item in value.items()}
    elif isinstance(value, list | tuple):
        carried = {f"[{index}]": item for index, item in enumerate(value)}
    elif is_dataclass(value) and not isinstance(value, type):
        carried = {item.name: getattr(value, item.name) for item in fields(value)}
    elif not isinstance(value, type):
        carried = {**_methods(value), **getattr(value, "__dict__", {})}
    return carried


def _methods(value: object) -> dict[str, object]:
    """Return the methods that go along with an object, because its class goes by value."""
    return {
        name: item
        for kind in reversed(type(value).__mro__)
        if not installed(kind.__module__)
        for name, item in vars(kind).items()
        if isinstance(item, FunctionType)
    }


def _reached_by_name(function: FunctionType) -> dict[str, object]:
    """Return what a function carries, of the user's modules what the code names of them."""
    named = attribute_names(function.__code__)
    carried: dict[str, object] = {}
    for name, item in reached(function).items():
        # A method that calls super() carries its class: what is wrong with it, its methods hold.
        if name == "__class__":
            continue
        if isinstance(item, ModuleType) and not installed(item.__name__):
            inside = vars(item)
            carried |= {f"{name}.{each}": inside[each] for each in named if each in inside}
        else:
            carried[name] = item
    return carried


def _shipping_failure(value: object) -> Exception | None:
    try:
        _written(value, _Counting)
    except Exception as error:  # as in `dumped`
        return error
    return None


def _shipped_bytes(value: object) -> int:
    return _written(value, _Counting).size_bytes


def _cannot_ship_error(pipeline: str, parts: Mapping[str, object], cause: Exception) -> SpecError:
    for transform, code in parts.items():
        failure = _shipping_failure(code)
        if failure is None:
            continue
        path, culprit, failure = _path_to_culprit(code, failure)
        fix = (
            f"{_one_line(failure)}\n"
            "make it inside the function, or pass what it is made from (a path, a URL) instead"
        )
        name = " -> ".join(path) or "function"
        kind = f"{type(culprit).__module__}.{type(culprit).__qualname__}".removeprefix("builtins.")
        return SpecError(
            "a transform holds something that cannot be sent to other processes",
            pipeline,
            transform,
            name,
            kind,
            _place(code),
            fix,
        )
    return SpecError(
        "the pipeline cannot be sent to other processes", pipeline, fix=_one_line(cause)
    )


def _path_to_culprit(value: object, failure: Exception) -> tuple[list[str], object, Exception]:
    path: list[str] = []
    for _ in range(_DEPTH_MAX):
        for name, item in _carried(value).items():
            deeper = _shipping_failure(item)
            if deeper is not None:
                # The first hop is our own wrapper: its field is no name that the author knows.
                if not (is_dataclass(value) and name == "function" and not path):
                    path.append(name)
                value, failure = item, deeper
                break
        else:
            break
    return path, value, failure


def _size_error(pipeline: str, parts: Mapping[str, object]) -> SpecError:
    sizes = {transform: _shipped_bytes(code) for transform, code in parts.items()}
    transform = max(sizes, key=lambda name: sizes[name])
    path: list[str] = []
    value: object = parts[transform]
    for _ in range(_DEPTH_MAX):
        inner = {name: _shipped_bytes(item) for name, item in _carried(value).items()}
        heavy = max(inner, key=lambda name: inner[name], default="")
        if (
            not heavy
            or inner[heavy] * 2 < sizes[transform]
            or isinstance(value, list | tuple | dict)
        ):
            break
        if not (is_dataclass(value) and heavy == "function" and not path):
            path.append(heavy)
        value = _carried(value)[heavy]
    limit_mib = SHIPPED_BYTES_MAX // 2**20
    return SpecError(
        f"a transform carries more than {limit_mib} MiB along",
        pipeline,
        transform,
        " -> ".join(path) or "function",
        f"{sizes[transform] / 2**20:.0f} MiB",
        _place(parts[transform]),
        "write it to a file and read it inside the function once (functools.cache)",
    )


def _place(code: object) -> str:
    function = getattr(code, "function", None)
    return source_place(function) if callable(function) else ""


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"

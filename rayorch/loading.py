"""A pipeline from a user's file, for the command line.

The file is executed as a module under a name of its own, so that its `if __name__ == "__main__":`
part does not run. Its folder is where its imports look first, as when Python runs the file.
"""

import contextlib
import itertools
import sys
import traceback
from collections.abc import Iterator, Mapping
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

from rayorch.api import Pipeline
from rayorch.errors import PipelineFileError, SpecError, near_miss
from rayorch.params import param_scope

_OURS: Final = str(Path(__file__).parent)
_numbers = itertools.count()  # two files of one name in one process must not be one module


def load_pipeline(
    path: str, name: str | None = None, params: Mapping[str, str] | None = None
) -> Pipeline:
    """Execute the file and return its pipeline, or the one of that name.

    `path` may be FILE:NAME. `params` are what `rayorch.param` returns in it.

    Raises: PipelineFileError, when the file cannot be loaded or holds no such pipeline; SpecError,
    when the pipeline in it is refused.
    """
    path, name = parted(path, name)
    file = _existing(path)
    with param_scope(params or {}) as scope:
        module = _executed(file)
        pipeline = _chosen(file, module, name)
        scope.check_all_used(pipeline.name)
    return pipeline


def parted(path: str, name: str | None = None) -> tuple[str, str | None]:
    """Return the file and the name that FILE:NAME means."""
    if name is None and not Path(path).exists() and ":" in path:
        path, _, name = path.rpartition(":")
    return path, name


def _existing(path: str) -> Path:
    file = Path(path).expanduser()
    if file.is_dir():
        inside = ", ".join(sorted(item.name for item in file.glob("*.py"))[:10])
        raise PipelineFileError(
            "a pipeline is a file, this is a folder",
            field="file",
            value=str(file),
            fix=f"it holds {inside}" if inside else "",
        )
    if not file.exists():
        names = [item.name for item in file.parent.glob("*.py")] if file.parent.is_dir() else []
        raise PipelineFileError(
            "there is no such file", field="file", value=path, fix=near_miss(file.name, names)
        )
    return file.resolve()


class _AsItIs(SourceFileLoader):
    """Compiles what a file holds now, and leaves nothing beside it.

    Python takes bytecode for current that has the file's size and second: one that was mended at
    once, by a letter, would be executed as it was.
    """

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _executed(file: Path) -> ModuleType:
    module_name = f"rayorch_pipeline_{file.stem}_{next(_numbers)}"
    loader = _AsItIs(module_name, str(file))
    spec = spec_from_file_location(module_name, file, loader=loader)
    assert spec is not None
    module = module_from_spec(spec)
    # Functions are shipped by value by way of their module, so it stays known under its name.
    sys.modules[module_name] = module
    try:
        with _folder_first(file.parent):
            loader.exec_module(module)
    except SpecError as error:
        del sys.modules[module_name]
        raise error.located(where=_place(error, file)) from None
    except SyntaxError as error:
        del sys.modules[module_name]
        raise _syntax_error(file, error) from None
    # The file is other people's code: whatever it raises, its author needs to see.
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise _raised_error(file, error) from error
    return module


@contextlib.contextmanager
def _folder_first(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        # The file may have changed the path itself: take out ours alone.
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))


def _chosen(file: Path, module: ModuleType, name: str | None) -> Pipeline:
    by_variable = {key: it for key, it in vars(module).items() if isinstance(it, Pipeline)}
    found = {id(pipeline): pipeline for pipeline in by_variable.values()}
    if name is not None:
        known = {**{pipeline.name: pipeline for pipeline in found.values()}, **by_variable}
        if name not in known:
            names = ", ".join(sorted({pipeline.name for pipeline in found.values()}))
            fix = near_miss(name, known) or (f"it holds {names}" if names else "it holds none")
            raise PipelineFileError(
                "the file holds no such pipeline", name, where=str(file), fix=fix
            )
        return known[name]
    if not found:
        raise PipelineFileError(
            "the file holds no pipeline",
            where=str(file),
            fix='make one at the top level: nightly = rayorch.Pipeline("nightly")',
        )
    if len(found) > 1:
        choices = "\n".join(f"{file}:{key}" for key in sorted(by_variable))
        raise PipelineFileError(
            "the file holds several pipelines", where=str(file), fix=f"choose one:\n{choices}"
        )
    return next(iter(found.values()))


def _syntax_error(file: Path, error: SyntaxError) -> PipelineFileError:
    where = f"{error.filename or file}:{error.lineno or 0}"
    shown = ""
    if error.text:
        text = error.text.rstrip("\n")
        indent = len(text) - len(text.lstrip())
        column = max((error.offset or 1) - 1 - indent, 0)
        shown = f"{text.strip()}\n{' ' * column}^"
    return PipelineFileError(
        f"the pipeline file has a syntax error: {error.msg}", where=where, fix=shown
    )


def _raised_error(file: Path, error: BaseException) -> PipelineFileError:
    kind = type(error).__name__
    text = f"{kind}: {error}" if str(error) else kind
    place = _place(error, file)
    fix = ""
    if isinstance(error, ModuleNotFoundError) and error.name:
        near = [item.stem for item in file.parent.glob("*.py")]
        fix = (
            near_miss(error.name, near) or f"pip install it, or put {error.name}.py beside the file"
        )
    return PipelineFileError(f"the pipeline file raised {text}", where=place, fix=fix)


def _place(error: BaseException, file: Path) -> str:
    """Return the innermost place of the traceback that is the user's own."""
    frames = traceback.extract_tb(error.__traceback__)
    folder = str(file.parent)
    own = [
        frame
        for frame in frames
        if frame.filename.startswith(folder) and not frame.filename.startswith(_OURS)
    ]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else str(file)

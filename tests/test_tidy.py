"""The house style, where no linter enforces it: numbers in brackets are rules of that style.

Cheap on purpose (text and syntax trees of the tracked files), so that it runs with the unit tests.
"""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
PRODUCT: Final = ("rayorch", "connectors", "placement", "benchmarks", "examples")
FILE_LINES_MAX: Final = 400
FUNCTION_LINES_MAX: Final = 70
NAMELESS: Final = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "base"})
# Spelled so that this file does not find itself.
MACHINE_PATH: Final = re.compile(r"(?<![\w.:/}])/(?:work|farm|root|home/\w+|opt/(?:pypi|wheels))/")
REGISTRY: Final = re.compile(
    r"\b(?:pypi[.]org|pythonhosted[.]org|npmjs[.]org|deb[.]debian[.]org|proxy[.]golang[.]org)\b"
)
UNFINISHED: Final = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b(?!.*#\d)")
PIN: Final = re.compile(
    r"[a-z0-9][a-z0-9._-]*==[A-Za-z0-9.+!]+ \\|    --hash=sha256:[0-9a-f]{64}(?: \\)?"
)
USER_CODE_BOUNDARY: Final = "rayorch/runner/apply.py"
DECISION_PARTS: Final = ("## Context", "## Decision", "## Rejected", "## Consequences")

# Style yields where a rule makes code worse: the path (or path:function), and why.
EXCUSED: Final[dict[str, str]] = {
    "rayorch/__init__.py": "imports its names when they are used, so that help costs no Arrow",
}


@cache
def _tracked() -> tuple[str, ...]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached"],  # noqa: S607 whichever git made the checkout
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    # A file that is deleted but not yet committed is still in the index.
    return tuple(name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())


def _modules(*folders: str) -> Iterator[tuple[str, str]]:
    for name in _tracked():
        if name.endswith(".py") and name.partition("/")[0] in folders and name not in EXCUSED:
            yield name, (ROOT / name).read_text(encoding="utf-8")


def _texts() -> Iterator[tuple[str, str]]:
    for name in _tracked():
        data = (ROOT / name).read_bytes()
        if b"\0" not in data:
            yield name, data.decode("utf-8", errors="replace")


def _lines_matching(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in _texts()
        if name not in EXCUSED and pattern.search(text)
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_a_module_fits_in_one_head() -> None:
    """[6] Past 400 lines a file wants to be two."""
    long = {
        name: lines
        for name, text in _modules(*PRODUCT)
        if (lines := text.count("\n")) > FILE_LINES_MAX
    }

    assert not long


def test_a_function_fits_a_screen() -> None:
    """[6] 70 lines, the docstring not counted: what has to be explained may be."""
    long: list[str] = []
    for name, text in _modules(*PRODUCT):
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            doc = ast.get_docstring(node, clean=False) or ""
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            lines -= doc.count("\n") + 1 if doc else 0
            where = f"{name}:{node.name}"
            if lines > FUNCTION_LINES_MAX and where not in EXCUSED:
                long.append(f"{where} has {lines} lines")

    assert not long


def test_a_module_is_named_for_what_it_holds() -> None:
    """[5]"""
    nameless = [name for name, _ in _modules(*PRODUCT, "tests") if Path(name).stem in NAMELESS]

    assert not nameless


def test_a_package_file_only_re_exports() -> None:
    """[4] A docstring, imports, and dunder names such as `__all__`; no code."""
    with_code: list[str] = []
    for name, text in _modules(*PRODUCT, "tests"):
        if Path(name).name == "__init__.py":
            with_code += [
                f"{name}:{node.lineno}" for node in ast.parse(text).body if not _is_re_export(node)
            ]

    assert not with_code


def _is_re_export(node: ast.stmt) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom():
            return True
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name.startswith("__") and name.endswith("__")
        case _:
            return False


def test_a_broad_except_says_why() -> None:
    """[20] User code may raise anything; anywhere else a catch-all has a reason.

    The reason is a comment on the line of the `except`, or on the one above or below it.
    """
    silent: list[str] = []
    for name, text in _modules("rayorch", "connectors", "placement"):
        if name == USER_CODE_BOUNDARY:
            continue
        lines = ["", *text.splitlines(), ""]
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ExceptHandler) and _is_broad(node):
                around = lines[node.lineno - 1 : node.lineno + 2]
                if not any("#" in line for line in around):
                    silent.append(f"{name}:{node.lineno}")

    assert not silent


def _is_broad(handler: ast.ExceptHandler) -> bool:
    match handler.type:
        case None:
            return True
        case ast.Name(id="Exception" | "BaseException"):
            return True
        case _:
            return False


def test_nothing_depends_on_one_machine() -> None:
    """A path of whoever wrote it works nowhere else."""
    assert not _lines_matching(MACHINE_PATH)


def test_no_address_of_a_package_registry_is_written_down() -> None:
    """Whoever installs has their own registry or mirror, and their own settings for it."""
    assert not _lines_matching(REGISTRY)


def test_nothing_is_left_for_later_without_an_issue() -> None:
    """[15]"""
    assert not _lines_matching(UNFINISHED)


def test_each_module_of_rayorch_has_its_layer() -> None:
    """[1] A module that the contract does not name may import anything and nobody notices."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = config["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if each["type"] == "layers")
    layered = set(re.findall(r"rayorch[.](\w+)", " ".join(layers)))

    modules = {Path(name).parts[1].removesuffix(".py") for name, _ in _modules("rayorch")}

    assert modules - {"__init__"} <= layered


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-bench.txt"])
def test_a_constraints_file_holds_names_versions_and_hashes_only(name: str) -> None:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()

    odd = [line for line in lines if not PIN.fullmatch(line)]

    assert not odd


def test_each_dependency_is_pinned_once() -> None:
    """What pyproject asks for is pinned, and the benchmarks run on the versions that are tested."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    tested, measured = _pins("constraints.txt"), _pins("constraints-bench.txt")

    wanted = _names([*project["dependencies"], *extras["demo"], *extras["dev"]]) - {"rayorch"}

    assert wanted <= tested.keys()
    assert _names(extras["bench"]) <= measured.keys()
    shared = tested.keys() & measured.keys()
    assert {key: tested[key] for key in shared} == {key: measured[key] for key in shared}


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~ ;]", text, maxsplit=1)[0].lower() for text in requirements}


def _pins(name: str) -> dict[str, str]:
    found = re.findall(
        r"^([a-z0-9._-]+)==(\S+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE
    )
    pins = dict(found)
    assert len(pins) == len(found), f"{name} pins a package twice"
    return pins


def test_what_make_needs_is_in_the_source_distribution() -> None:
    """Who has unpacked it types `make bench`, as the command without a suite says."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = set(config["tool"]["hatch"]["build"]["targets"]["sdist"]["include"])
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    assert set(re.findall(r"-r (constraints[a-z-]*[.]txt)", makefile)) <= included


def test_the_readme_and_the_makefile_agree() -> None:
    """A stranger types what the README says: each target that it names exists."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE))
    named = set(re.findall(r"(?:`|^\s*\$? ?)make ([a-z]+)", readme, re.MULTILINE))

    assert named <= targets
    assert {"demo", "test"} <= named


def test_a_decision_is_one_numbered_page_with_its_reasons() -> None:
    """[38]"""
    pages = sorted((ROOT / "rayorch" / "decisions").glob("*.md"))
    numbers = [int(page.name[:4]) for page in pages]

    assert numbers == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        missing = [part for part in DECISION_PARTS if part not in text]
        assert not missing, f"{page.name} lacks {missing}"

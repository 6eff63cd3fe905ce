"""Pipelines from files: what is found, and what a user sees when nothing can be."""

import os
import sys
from datetime import date
from pathlib import Path

import pytest

from rayorch.errors import SpecError
from rayorch.loading import load_pipeline
from rayorch.program import MapCode
from tests.rayorch.refusals import refusal

NIGHTLY = """
import rayorch as ro

day = ro.param("day", "2026-11-22")
nightly = ro.Pipeline("nightly")
nightly.read("lines", f"/data/{day}").write("/out")

if __name__ == "__main__":
    raise SystemExit("ran as a program")
"""


def written(folder: Path, text: str, name: str = "nightly.py") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_the_pipeline_of_a_file_is_loaded_and_the_file_does_not_run_as_a_program(
    tmp_path: Path,
) -> None:
    pipeline = load_pipeline(written(tmp_path, NIGHTLY))

    assert pipeline.spec().reads[0].urls == ("file:///data/2026-11-22",)


def test_a_file_that_was_mended_at_once_by_a_letter_is_loaded_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same size, and of the same second, it would pass for what was compiled before."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    path = written(tmp_path, NIGHTLY)
    os.utime(path, (1_000, 1_000))
    load_pipeline(path)
    written(tmp_path, NIGHTLY.replace("11-22", "11-29"))
    os.utime(path, (1_000, 1_000))

    pipeline = load_pipeline(path)

    assert pipeline.spec().reads[0].urls == ("file:///data/2026-11-29",)
    assert os.listdir(tmp_path) == ["nightly.py"]


def test_a_parameter_replaces_its_default_and_is_recorded(tmp_path: Path) -> None:
    pipeline = load_pipeline(written(tmp_path, NIGHTLY), params={"day": "2026-11-23"})

    assert pipeline.spec().reads[0].urls == ("file:///data/2026-11-23",)
    assert pipeline.spec().params == {"day": "2026-11-23"}


def test_parameters_take_the_type_of_their_default(tmp_path: Path) -> None:
    text = (
        "from datetime import date\nimport rayorch as ro\n"
        "p = ro.Pipeline('p')\n"
        "values = (ro.param('n', 1), ro.param('x', 0.5), ro.param('on', False),"
        " ro.param('day', date(2026, 1, 1)))\n"
    )
    params = {"n": "7", "x": "1.5", "on": "yes", "day": "2026-11-22"}
    file = written(tmp_path, text)

    load_pipeline(file, params=params)

    module = next(module for module in sys.modules.values() if vars(module).get("__file__") == file)
    assert module.values == (7, 1.5, True, date(2026, 11, 22))


def test_a_parameter_of_the_wrong_type_names_it_and_the_line(tmp_path: Path) -> None:
    text = "import rayorch as ro\nn = ro.param('n', 1)\np = ro.Pipeline('p')\n"

    assert refusal(
        lambda: load_pipeline(written(tmp_path, text), params={"n": "many"}), tmp_path
    ) == ("a parameter must be an int. field=--set n, value='many'\n  at FOLDER/nightly.py:2")


def test_an_unknown_parameter_gets_a_near_miss(tmp_path: Path) -> None:
    file = written(tmp_path, NIGHTLY)

    assert refusal(lambda: load_pipeline(file, params={"dya": "x"})) == (
        "unknown parameter. pipeline=nightly, field=--set dya, value='x'\n  did you mean 'day'?"
    )


def test_imports_look_in_the_files_folder_while_it_is_loaded(tmp_path: Path) -> None:
    written(tmp_path, "def clean(table):\n    return 'clean'\n", "ro_load_helper.py")
    text = (
        "import rayorch as ro\nimport ro_load_helper\np = ro.Pipeline('p')\n"
        "p.read('a', '/a').map(ro_load_helper.clean, output='b').write('/b')\n"
    )
    before = list(sys.path)

    code = load_pipeline(written(tmp_path, text)).codes["b"]

    assert isinstance(code, MapCode)
    assert code.function(None) == "clean"
    assert sys.path == before


def test_two_files_of_one_name_stay_apart(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        written(tmp_path / name, f"import rayorch as ro\np = ro.Pipeline('{name}')\n")

    names = [load_pipeline(str(tmp_path / name / "nightly.py")).name for name in ("one", "two")]

    assert names == ["one", "two"]


def test_several_pipelines_ask_for_one(tmp_path: Path) -> None:
    text = "import rayorch as ro\nday = ro.Pipeline('daily')\nweek = ro.Pipeline('weekly')\n"
    file = written(tmp_path, text)

    assert refusal(lambda: load_pipeline(file), tmp_path) == (
        "the file holds several pipelines\n"
        "  at FOLDER/nightly.py\n"
        "  choose one:\n"
        "  FOLDER/nightly.py:day\n"
        "  FOLDER/nightly.py:week"
    )
    assert load_pipeline(f"{file}:week").name == "weekly"
    assert load_pipeline(file, "daily").name == "daily"
    assert refusal(lambda: load_pipeline(f"{file}:weekyl"), tmp_path) == (
        "the file holds no such pipeline. pipeline=weekyl\n"
        "  at FOLDER/nightly.py\n"
        "  did you mean 'weekly'?"
    )


def test_a_file_without_a_pipeline_says_how_to_make_one(tmp_path: Path) -> None:
    assert refusal(lambda: load_pipeline(written(tmp_path, "x = 1\n")), tmp_path) == (
        "the file holds no pipeline\n"
        "  at FOLDER/nightly.py\n"
        '  make one at the top level: nightly = rayorch.Pipeline("nightly")'
    )


def test_a_syntax_error_is_shown_with_its_line(tmp_path: Path) -> None:
    text = "import rayorch as ro\n\ndef f(table:\n    return table\n"

    assert refusal(lambda: load_pipeline(written(tmp_path, text)), tmp_path) == (
        "the pipeline file has a syntax error: '(' was never closed\n"
        "  at FOLDER/nightly.py:3\n"
        "  def f(table:\n"
        "       ^"
    )


def test_an_import_that_fails_is_shown_with_its_line_and_a_near_miss(tmp_path: Path) -> None:
    written(tmp_path, "", "cleaning.py")

    text = refusal(
        lambda: load_pipeline(written(tmp_path, "import os\nimport cleanin\n")), tmp_path
    )

    assert text == (
        "the pipeline file raised ModuleNotFoundError: No module named 'cleanin'\n"
        "  at FOLDER/nightly.py:2\n"
        "  did you mean 'cleaning'?"
    )


def test_whatever_the_file_raises_is_shown_with_the_users_own_line(tmp_path: Path) -> None:
    written(tmp_path, "def build():\n    return 1 / 0\n", "ro_building.py")
    text = "import ro_building\nro_building.build()\n"

    assert refusal(lambda: load_pipeline(written(tmp_path, text)), tmp_path) == (
        "the pipeline file raised ZeroDivisionError: division by zero\n  at FOLDER/ro_building.py:2"
    )


def test_a_file_that_exits_is_refused(tmp_path: Path) -> None:
    text = refusal(lambda: load_pipeline(written(tmp_path, "raise SystemExit(3)\n")), tmp_path)

    assert text == "the pipeline file raised SystemExit: 3\n  at FOLDER/nightly.py:1"


def test_a_refused_part_keeps_its_own_error(tmp_path: Path) -> None:
    text = "import rayorch as ro\np = ro.Pipeline('p')\np.read('a', '')\n"

    assert refusal(lambda: load_pipeline(written(tmp_path, text)), tmp_path) == (
        "not a URL: it is empty. pipeline=p, transform=a, field=url, value=''\n"
        "  at FOLDER/nightly.py:3"
    )


def test_a_missing_file_gets_a_near_miss(tmp_path: Path) -> None:
    written(tmp_path, NIGHTLY)

    assert refusal(lambda: load_pipeline(str(tmp_path / "nigthly.py")), tmp_path) == (
        "there is no such file. field=file, value=FOLDER/nigthly.py\n  did you mean 'nightly.py'?"
    )


def test_a_folder_lists_the_files_in_it(tmp_path: Path) -> None:
    written(tmp_path, NIGHTLY)

    assert refusal(lambda: load_pipeline(str(tmp_path)), tmp_path) == (
        "a pipeline is a file, this is a folder. field=file, value=FOLDER\n  it holds nightly.py"
    )


def test_a_file_that_failed_leaves_no_module_behind(tmp_path: Path) -> None:
    before = set(sys.modules)

    with pytest.raises(SpecError):
        load_pipeline(written(tmp_path, "1 / 0\n"))

    assert set(sys.modules) == before

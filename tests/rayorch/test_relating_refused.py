"""Relational operators that cannot be: the text of every refusal."""

import importlib.util
from typing import Any

import pytest

import rayorch as ro
from tests.rayorch.refusals import refusal
from tests.rayorch.test_aggregate import Longest
from tests.rayorch.test_relating import Build, code_of, refused, same

WRONG: Any = 3

OPERATORS: dict[str, Build] = {
    "join": lambda lines: lines.join("x", "parts", on="a", memry=1),  # type: ignore[call-arg]
    "join_asof": lambda lines: lines.join_asof("x", "parts", on="a", memry=1),  # type: ignore[call-arg]
    "sort": lambda lines: lines.sort("x", "a", memry=1),  # type: ignore[call-arg]
    "dedupe": lambda lines: lines.dedupe("x", "a", memry=1),  # type: ignore[call-arg]
    "repartition": lambda lines: lines.repartition("x", "a", memry=1),  # type: ignore[call-arg]
    "map_groups": lambda lines: lines.map_groups(same, by="a", output="x", memry=1),  # type: ignore[call-arg]
}


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_misspelt_option_gets_a_near_miss(operator: str) -> None:
    assert refused(OPERATORS[operator]) == (
        f"{operator} takes no such option. pipeline=nightly, transform=x, field=memry\n"
        "  did you mean 'memory'?"
    )


AN_AGGREGATE: dict[str, tuple[Build, str]] = {
    "an unknown function": (
        lambda lines: lines.aggregate("x", m=("q", "summ")),
        (
            "input should be 'sum', 'count', 'mean', 'min', 'max', 'var', 'std', 'first', 'last', "
            "'count_distinct', 'approx_count_distinct', 'approx_quantile' or 'user'. "
            "field=measures.m.function, value='summ'\n  did you mean 'sum'?"
        ),
    ),
    "a misspelt option": (
        lambda lines: lines.aggregate("x", memry="1 GiB"),
        (
            "a measure is (column, function), like ('l_quantity', 'sum'). "
            "field=measures.memry, value='1 GiB'\n  did you mean 'memory'?"
        ),
    ),
    "no measures": (
        lambda lines: lines.aggregate("x", by="a"),
        (
            "an aggregate needs at least one measure. field=measures\n"
            '  for example lines=("*", "count"); for the distinct keys alone, use .dedupe'
        ),
    ),
    "a key twice": (
        lambda lines: lines.aggregate("x", by=["a", "a"], n=("*", "count")),
        "'a' is named twice. field=by, value=['a', 'a']",
    ),
    "a measure named as a key": (
        lambda lines: lines.aggregate("x", by="a", a=("*", "count")),
        (
            "a new column has the name of a key. field=measures, value='a'\n"
            "  give it another name: a_2=..."
        ),
    ),
    "a measure twice": (
        lambda lines: lines.aggregate("x", measures={"n": ("a", "sum")}, n=("*", "count")),
        "a column is given twice. field=measures.n, value='n'",
    ),
    "all columns": (
        lambda lines: lines.aggregate("x", m=("*", "max")),
        (
            "max takes one column. field=measures.m, value='*'\n"
            "  name a column; '*' is for count, and for an aggregate of your own"
        ),
    ),
    "no order": (
        lambda lines: lines.aggregate("x", m=("q", "last")),
        ("last needs an order. field=measures.m\n  for example ('q', 'last', 'updated_at')"),
    ),
    "an order of nothing": (
        lambda lines: lines.aggregate("x", m={"column": "q", "function": "sum", "order": ["a"]}),
        "sum takes no order. field=measures.m, value='a'",
    ),
    "an order twice": (
        lambda lines: lines.aggregate("x", m=("q", "last", "a", "a")),
        "a column is named twice in an order. field=measures.m, value='a'",
    ),
    "too much": (
        lambda lines: lines.aggregate("x", m=("q", "sum", 2)),
        "sum takes nothing but a column. field=measures.m, value=(2,)",
    ),
    "no share": (
        lambda lines: lines.aggregate("x", m=("q", "approx_quantile", 50)),
        (
            "approx_quantile takes a number from 0 to 1. field=measures.m, value=(50,)\n"
            "  the median is ('q', 'approx_quantile', 0.5)"
        ),
    ),
    "a function": (
        lambda lines: lines.aggregate("x", m=("q", max)),
        (
            "a function must be named by text. field=measures.m, value=<built-in function max>\n"
            "  for a function of your own, subclass rayorch.Aggregate and pass an instance"
        ),
    ),
    "an own aggregate by name": (
        lambda lines: lines.aggregate("x", m=("q", "user")),
        (
            "an aggregate of your own is an object, and no name. field=measures.m, value='user'\n"
            "  subclass rayorch.Aggregate and pass an instance"
        ),
    ),
    "an own aggregate with more": (
        lambda lines: lines.aggregate("x", m=([], Longest())),
        "an aggregate of your own takes columns and nothing else. field=measures.m, ",
    ),
    "a number": (lambda lines: lines.aggregate("x", by=WRONG), "must be a list. field=by, value=3"),
}
A_JOIN: dict[str, tuple[Build, str]] = {
    "an unknown how": (
        lambda lines: lines.join("x", "parts", on="a", how="outer"),  # type: ignore[arg-type]
        (
            "input should be 'inner', 'left', 'right', 'full', 'semi' or 'anti'. "
            "field=how, value='outer'\n  did you mean 'full'?"
        ),
    ),
    "no keys": (
        lambda lines: lines.join("x", "parts"),
        (
            "a join needs keys. field=on\n"
            '  on="id" for keys of the same name, else left_on=... and right_on=...'
        ),
    ),
    "keys of one side": (
        lambda lines: lines.join("x", "parts", left_on="a"),
        "left_on needs right_on beside it. field=right_on",
    ),
    "keys both ways": (
        lambda lines: lines.join("x", "parts", on="a", right_on="b"),
        (
            "on and right_on are two answers to one question. field=right_on, value='b'\n"
            "  on=... for keys of the same name, else left_on=... and right_on=..."
        ),
    ),
    "keys that do not pair": (
        lambda lines: lines.join("x", "parts", left_on=["a", "b"], right_on="c"),
        (
            "the sides have different numbers of keys. field=right_on, value=['c']\n"
            "  left_on has 2: a, b"
        ),
    ),
    "no time": (
        lambda lines: lines.join_asof("x", "parts", by="a"),
        (
            "an as-of join needs a time column. field=on\n"
            '  on="at" for columns of the same name, else left_on=... and right_on=...'
        ),
    ),
    "a tolerance without a unit that it knows": (
        lambda lines: lines.join_asof("x", "parts", on="t", tolerance="5 s"),  # type: ignore[arg-type]
        (
            "a tolerance is a timedelta, or a number in the unit of the columns. "
            "field=tolerance, value='5 s'"
        ),
    ),
    "a negative tolerance": (
        lambda lines: lines.join_asof("x", "parts", on="t", tolerance=-1),
        "a tolerance must be finite and not negative. field=tolerance, value=-1",
    ),
    "a time that is a key": (
        lambda lines: lines.join_asof("x", "parts", on="t", by=["t"]),
        (
            "the time column is also a key. field=left_by, value='t'\n"
            "  `by` is what must be equal, `on` what may be apart"
        ),
    ),
    "an unknown direction": (
        lambda lines: lines.join_asof("x", "parts", on="t", direction="back"),  # type: ignore[arg-type]
        (
            "input should be 'backward', 'forward' or 'nearest'. field=direction, value='back'\n"
            "  did you mean 'backward'?"
        ),
    ),
}
AN_ORDER: dict[str, tuple[Build, str]] = {
    "directions of another length": (
        lambda lines: lines.sort("x", ["a", "b"], descending=[True]),
        (
            "descending is not as long as by. field=descending, value=[True]\n"
            "  give one for all, or one for each of 2 columns"
        ),
    ),
    "a direction in words": (
        lambda lines: lines.sort("x", "a", nulls_first="yes"),  # type: ignore[arg-type]
        "a direction is true or false, or a list of such. field=nulls_first, value='yes'",
    ),
    "a direction twice": (
        lambda lines: lines.sort("x", ro.SortKey(column="a"), descending=True),
        (
            "a SortKey says its direction itself. field=descending, value=True\n"
            "  SortKey(column='a', descending=..., nulls_first=...) says both"
        ),
    ),
    "nothing": (
        lambda lines: lines.sort("x", []),
        "at least 1 needed, 0 given. field=by, value=()",
    ),
    "a column twice": (
        lambda lines: lines.sort("x", ["a", "a"]),
        "a column is named twice in an order. field=by, value='a'",
    ),
    "a number among columns": (
        lambda lines: lines.sort("x", ["a", WRONG]),
        "an order is a list of column names or of SortKey. field=by.1, value=3",
    ),
    "an order of equal rows": (
        lambda lines: lines.dedupe("x", order="a"),
        (
            "rows that are equal have no order. field=by\n"
            "  say by which columns rows are the same: by=['id']"
        ),
    ),
}
A_DIVISION: dict[str, tuple[Build, str]] = {
    "nothing": (
        lambda lines: lines.repartition("x"),
        (
            "nothing says how rows are to be divided. field=by\n"
            "  say by=['key'], size='256 MiB' or parts=8"
        ),
    ),
    "ranges of nothing": (
        lambda lines: lines.repartition("x", ranges=True, parts=2),
        "ranges need keys. field=by\n  for example by=['day']",
    ),
    "size and number": (
        lambda lines: lines.repartition("x", size="1 GiB", parts=2),
        (
            "a size and a number of parts are two answers to one question. field=parts, value=2\n"
            "  leave one of them out"
        ),
    ),
}
A_WINDOW: dict[str, tuple[Build, str]] = {
    "no columns": (
        lambda lines: lines.window("x", order="a"),
        (
            "a window needs at least one column. field=columns\n"
            "  for example position='row_number', so_far=('qty', 'sum')"
        ),
    ),
    "no order": (
        lambda lines: lines.window("x", order=[], n="rank"),
        "at least 1 needed, 0 given. field=order, value=()",
    ),
    "a rank of a column": (
        lambda lines: lines.window("x", order="a", n=("a", "rank")),
        (
            "rank takes no column. field=columns.n, value='a'\n"
            "  write 'rank' alone; what is ranked is the order"
        ),
    ),
    "a sum of nothing": (
        lambda lines: lines.window("x", order="a", n="sum"),
        (
            "sum takes one column. field=columns.n, value=''\n"
            "  for example ('qty', 'sum'); rows are counted by 'row_number'"
        ),
    ),
    "a name that is taken": (
        lambda lines: lines.window("x", order="a", q=("q", "sum")),
        (
            "a new column has the name of a column that is there. field=columns, value='q'\n"
            "  give it another name: q_2=..."
        ),
    ),
    "an offset the other way": (
        lambda lines: lines.window("x", order="a", n=("q", "lag", -1)),
        ("an offset is at least 1. field=columns.n, value=-1\n  for the other way, use 'lead'"),
    ),
    "an offset in words": (
        lambda lines: lines.window("x", order="a", n=("q", "lag", "one")),
        (
            "lag takes (offset, default). field=columns.n, value=('one',)\n"
            "  for example ('q', 'lag', 1)"
        ),
    ),
    "a number": (
        lambda lines: lines.window("x", order="a", n=WRONG),
        (
            "a window's column is 'row_number', 'rank', 'dense_rank' or (column, function), "
            "like ('qty', 'sum'). field=columns.n, value=3"
        ),
    ),
}
REFUSALS = {
    f"{what}: {name}": case
    for what, cases in (
        ("aggregate", AN_AGGREGATE),
        ("join", A_JOIN),
        ("order", AN_ORDER),
        ("repartition", A_DIVISION),
        ("window", A_WINDOW),
    )
    for name, case in cases.items()
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_is_refused_where_it_is_written(name: str) -> None:
    build, text = REFUSALS[name]
    whole = refusal(lambda: code_of(build))

    assert "\n  at FILE:LINE" in whole
    short = whole.replace("\n  at FILE:LINE", "").replace("pipeline=nightly, transform=x, ", "")
    assert short == text or (text.endswith(", ") and short.startswith(text))


def test_a_dataset_of_another_pipeline_cannot_be_joined() -> None:
    other = ro.Pipeline("weekly").read("parts", "/parts")

    assert refused(lambda lines: lines.join("x", other, on="a")) == (
        "an input belongs to another pipeline. pipeline=nightly, field=input, value='parts'\n"
        "  write it in 'weekly' and read it here"
    )


def test_without_the_engine_an_operator_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, package=None: None if name == "duckdb" else find_spec(name, package),
    )

    said = refused(lambda lines: lines.dedupe("once", "id"))

    assert said.startswith("a relational operator needs duckdb, which is not installed")
    assert "pip install 'rayorch[sql]'" in said

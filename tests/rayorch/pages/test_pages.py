"""Pages are one file that loads nothing, say what was measured, and make no markup of names."""

import base64
import re
import sys

import msgspec
import pytest

from connectors.errors import MissingExtraError
from rayorch.bench.figures import Check
from rayorch.bench.results import Bar, Results, StageRate
from rayorch.capacity.answering import capacity
from rayorch.capacity.asking import Traded
from rayorch.pages.bench_page import bench_page
from rayorch.pages.bench_plots import gantt_plot, tail_of
from rayorch.pages.capacity_page import capacity_page
from rayorch.pages.page import Page, Section, html_of
from tests.rayorch.bench import make
from tests.rayorch.capacity.make import pools
from tests.rayorch.capacity.make import question as asked

pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
pytest.importorskip("jinja2", reason="the extra `report` is not installed")

STAGE = StageRate("lines", 20, 1_000, 50_000_000, 2.0, {"compute": 1.5}, 3.0)
BARS = tuple(
    Bar(pool, f"runner-{pool}", "lines", float(at), at + 1.0 + 0.1 * at)
    for pool in ("spot", "ondemand")
    for at in range(10)
)


def measured() -> Results:
    made = make.results(
        make.runs("scan", "rayorch", [1.0, 1.2], stages=(STAGE,), bars=BARS, startup_s=0.5),
        make.runs("scan", "duckdb", [2.0, 2.2]),
        *[make.figure("scale", "CPU a task over tasks", 100.0, at=at) for at in (10.0, 1e6)],
        *[make.figure("placement", "USD over minutes", 9.0 / at, at=at) for at in (1.0, 2.0)],
        make.failure("scan", "dask", "it said <script>alert(1)</script>"),
    )
    made.check(Check(workload="scan", claim="wall / duckdb", figure=0.5, limit=1.0))
    return made


def pictures(html: str) -> list[str]:
    found = re.findall(r'<img src="data:image/svg\+xml;base64,([^"]+)"', html)
    return [base64.b64decode(each).decode() for each in found]


def test_a_page_of_results_has_every_plot_and_every_number() -> None:
    html = html_of(bench_page(measured()))

    titles = re.findall(r"<h2>(.*?)</h2>", html)
    assert titles == [
        "Against others",
        "Throughput by stage and step",
        "The tail",
        "Who worked when",
        "Scaling curves",
        "Cost against latency",
        "Figures",
        "Targets",
        "What was not measured",
        "Versions",
    ]
    assert len(pictures(html)) == 6
    assert "1.10 (1.00 - 1.20)" in html
    assert '<td class="pass">pass</td>' in html


def test_a_page_loads_nothing_and_forbids_it() -> None:
    html = html_of(bench_page(measured()))

    assert "default-src 'none'" in html
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", html)
    assert "url(" not in html


def test_what_a_peer_printed_is_text_and_no_markup() -> None:
    html = html_of(bench_page(measured()))

    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_what_was_not_measured_leaves_no_empty_section() -> None:
    html = html_of(bench_page(make.results(make.runs("scan", "rayorch", [1.0]))))

    assert re.findall(r"<h2>(.*?)</h2>", html) == ["Against others", "Versions"]
    assert not pictures(html)


def test_runners_are_drawn_by_pool() -> None:
    [url] = [gantt_plot(BARS)]
    picture = base64.b64decode(url.partition(",")[2]).decode()

    assert picture.count("<!-- spot 1 -->") == picture.count("<!-- ondemand 1 -->") == 1


def test_the_tail_is_each_attempt_over_the_mean_of_its_stage() -> None:
    bars = tuple(Bar("local", "r", stage, 0.0, end_s) for stage, end_s in (("a", 1.0), ("a", 3.0)))
    [line] = make.runs("scan", "rayorch", [1.0], bars=bars)

    assert tail_of(make.results([line]).runs("scan", "rayorch")) == [0.5, 1.5]


@pytest.mark.slow
def test_an_answer_about_capacity_is_a_page() -> None:
    spot = {"name": "spot", "usd_h": 0.1, "spot": {"reclaims_per_h": 0.1, "outage_s": 60}}
    found = capacity(asked(pools=pools({}, spot), growth=20.0, deadline_s=600.0, search_s=0.1))

    html = html_of(capacity_page(found))

    assert "<h1>Capacity of nightly</h1>" in html
    for title in ("When it ends", "Machines", "What if", "What breaks first when data doubles"):
        assert f"<h2>{title}</h2>" in html
    assert len(pictures(html)) >= 3
    assert len(found.finish.ends_s) == 4


def test_the_same_page_is_the_same_bytes() -> None:
    """So that a page in a repository changes when its numbers do."""
    assert html_of(bench_page(measured())) == html_of(bench_page(measured()))


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)

    with pytest.raises(MissingExtraError, match=r"pip install 'rayorch\[report\]'"):
        html_of(Page(title="", lead="", sections=[Section(title="x")]))


def test_cost_against_time_is_a_plot_and_a_table_with_how_to_ask_for_each_point() -> None:
    soon = Traded(ask_s=180.2, p95_s=240.0, usd=2.0, cost=2.0, pools={"here": 9}, runs=6)
    cheap = Traded(ask_s=None, p95_s=900.0, usd=1.0, cost=1.0, pools={"here": 2}, runs=50)
    found = msgspec.structs.replace(capacity(asked()), frontier=(soon, cheap))

    page = html_of(capacity_page(found))

    assert "6 simulated runs of a plan for each deadline" in page
    assert "dollars of a run over its end" in page
    assert "--deadline 181s" in page
    assert "no deadline" in page

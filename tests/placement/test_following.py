"""How many nodes a plan wants at a moment, and which pools serve what."""

from placement import Held, Spot, nodes_wanted, pools_of
from placement.layout import Fleet, Layout
from placement.model import Problem
from tests.placement import make

SPOT = Spot(reclaims_per_h=0.3, outage_s=1200)
EVERY = (0, 1)


def _chain(**fields: object) -> Problem:
    """Forty tasks and twenty that need them all, on a spot pool and two others."""
    pools = [
        make.pool("spot", vcpu=4, usd_h=0.2, spot=SPOT),
        make.pool("od", vcpu=4, usd_h=0.6),
        make.pool("thin", vcpu=1, usd_h=0.1),
    ]
    classes = [make.cls("a", 40, 60), make.cls("b", 20, 60, deps=make.after("a"), slots=2)]
    return make.problem(classes, pools, **fields)  # type: ignore[arg-type]


def _layout(problem: Problem) -> Layout:
    """Two spot nodes now, three on demand at 100 s, and one when `b` can begin."""
    return make.layout(
        problem,
        Fleet(0, 2, 0.0, EVERY),
        Fleet(1, 3, 100.0, EVERY),
        Fleet(1, 1, None, (1,)),
        fallback=(1, -1, -1),
    )


def test_nodes_are_wanted_from_when_the_plan_asks_for_them() -> None:
    problem = _chain()
    layout = _layout(problem)

    assert nodes_wanted(problem, layout, 0.0) == {"spot": 2, "od": 0, "thin": 0}
    assert nodes_wanted(problem, layout, 100.0) == {"spot": 2, "od": 3, "thin": 0}


def test_nodes_for_a_later_stage_are_wanted_when_its_inputs_are_there() -> None:
    problem = _chain()
    layout = _layout(problem)

    some = nodes_wanted(problem, layout, 50.0, started={"a": 40}, done={"a": 39})
    ready = nodes_wanted(problem, layout, 50.0, started={"a": 40}, done={"a": 40})

    assert some["od"] == 0
    assert ready["od"] == 1


def test_nodes_with_nothing_left_to_start_are_wanted_no_more() -> None:
    problem = _chain()
    layout = _layout(problem)

    last = nodes_wanted(problem, layout, 200.0, started={"a": 40, "b": 19}, done={"a": 40})
    over = nodes_wanted(problem, layout, 200.0, started={"a": 40, "b": 20}, done={"a": 40})

    assert last == {"spot": 2, "od": 4, "thin": 0}
    assert over == {"spot": 0, "od": 0, "thin": 0}


def test_without_counts_the_mean_run_says_when_a_fleet_is_due_and_when_all_is_over() -> None:
    problem = _chain()
    layout = make.layout(problem, Fleet(0, 5, 0.0, EVERY), Fleet(1, 1, None, (1,)))

    # Twenty lanes are up at 30 and run forty tasks of 60 s, so that `b` begins at 150.
    assert nodes_wanted(problem, layout, 149.0)["od"] == 0
    assert nodes_wanted(problem, layout, 151.0)["od"] == 1
    assert nodes_wanted(problem, layout, 1e6) == {"spot": 0, "od": 0, "thin": 0}


def test_held_nodes_are_wanted_while_there_is_work() -> None:
    problem = _chain(now_s=300.0, held=(Held(pool="spot", count=2, up_s=10.0, ready_s=30.0),))
    layout = make.layout(problem, Fleet(0, 2, None, EVERY, held=0))

    assert nodes_wanted(problem, layout, 300.0)["spot"] == 2


def test_pools_come_by_how_much_they_run_and_replacements_last() -> None:
    problem = _chain()
    served = make.layout(
        problem, Fleet(2, 4, 0.0, EVERY), Fleet(0, 8, 0.0, EVERY), fallback=(1, -1, -1)
    )

    # `b` needs two slots: it never runs on the thin pool, though its fleet serves that part.
    assert pools_of(problem, served) == {"a": ("spot", "thin", "od"), "b": ("spot", "od")}


def test_a_standing_insurance_comes_after_what_does_the_work() -> None:
    problem = _chain()
    served = make.layout(problem, Fleet(0, 9, 0.0, EVERY), Fleet(1, 2, 900.0, EVERY))

    assert pools_of(problem, served)["a"] == ("spot", "od")

"""What a pipeline says of its runs when one is submitted."""

from datetime import timedelta

import pytest

import rayorch as ro
from rayorch.compiling import compile_program
from rayorch.core.cheap import Cheap
from rayorch.core.values import RetryLimits
from rayorch.errors import SpecError
from rayorch.ids import RunId
from rayorch.spec import Standing
from rayorch.submission import submission


def test_a_submission_has_the_standing_of_its_pipeline_unless_it_is_given_another() -> None:
    pipeline = ro.Pipeline("nightly", tenant="finance", priority=7)
    pipeline.read("lines", "/a").write("/out")
    spec, program = pipeline.spec(), compile_program(pipeline)

    own = submission(RunId("r"), spec, program, "v")
    other = submission(RunId("r"), spec, program, "v", Standing(tenant="lab", priority=-1))

    assert (own.tenant, own.priority) == ("finance", 7)
    assert (other.tenant, other.priority) == ("lab", -1)
    assert (own.cheap, own.deadline_s) == (None, 0.0)


def test_a_submission_says_what_the_run_waits_for_and_until_when_at_the_latest() -> None:
    half_an_hour = ro.Deadline(timedelta(minutes=30))
    pipeline = ro.Pipeline("nightly", cheap="22:00-06:00", price_max=0.05, objective=half_an_hour)
    pipeline.read("lines", "/a").write("/out")
    spec, program = pipeline.spec(), compile_program(pipeline)

    own = submission(RunId("r"), spec, program, "v")
    other = submission(RunId("r"), spec, program, "v", objective=ro.Deadline(timedelta(minutes=1)))

    assert own.cheap == Cheap(22 * 60, 6 * 60, 0.05)
    assert (own.deadline_s, other.deadline_s) == (1800.0, 60.0)


def test_a_run_that_waits_for_a_price_needs_a_deadline() -> None:
    pipeline = ro.Pipeline("nightly", price_max=0.05)
    pipeline.read("lines", "/a").write("/out")

    with pytest.raises(SpecError, match="waits for a price has a deadline"):
        submission(RunId("r"), pipeline.spec(), compile_program(pipeline), "v")


def test_a_submission_says_how_often_it_is_tried() -> None:
    retry = ro.RetryPolicy(attempts_max=9, backoff_s=0.5, backoff_s_max=7.0, strikes_max=5)
    pipeline = ro.Pipeline("nightly", retry=retry)
    pipeline.read("lines", "/a").write("/out")

    found = submission(RunId("r"), pipeline.spec(), compile_program(pipeline), "v")

    assert found.retry == RetryLimits(9, 0.5, 7.0, 5)

from datetime import timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from rayorch.errors import SpecError
from rayorch.spec import Budget, Deadline, Resources, RetryPolicy, Weighted
from rayorch.spec.fields import Name
from tests.rayorch.refusals import refusal

NAME = TypeAdapter(Name)


@pytest.mark.parametrize("name", ["lines", "day 2026-11-22", "größe", "売上", "a.b", "x_1"])
def test_a_name_holds_letters_digits_and_a_few_signs(name: str) -> None:
    assert NAME.validate_python(name) == name


@pytest.mark.parametrize("name", ["", "a/b", "..", "a..b", ".hidden", " a", "a ", "a\n", "x" * 129])
def test_a_name_that_could_climb_or_break_a_path_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        NAME.validate_python(name)


@pytest.mark.parametrize(
    ("given", "size_bytes"),
    [
        ("1 GiB", 2**30),
        ("1gib", 2**30),
        ("1.5 KiB", 1536),
        ("500 MB", 500_000_000),
        ("12", 12),
        (7, 7),
    ],
)
def test_memory_is_an_int_or_a_number_with_a_unit(given: str | int, size_bytes: int) -> None:
    assert Resources.of("p", "t", {"memory_bytes": given}).memory_bytes == size_bytes


def test_a_unit_that_is_none_gets_a_near_miss() -> None:
    text = refusal(lambda: Resources.of("nightly", "shipped", {"memory_bytes": "1 G"}))

    assert text == (
        "unknown unit 'G' of a size; did you mean '1 GiB'?. "
        "pipeline=nightly, transform=shipped, field=memory_bytes, value='1 G'"
    )


@pytest.mark.parametrize("given", ["lots", "-1 GiB", 0, -5, True, 1.5, "0 GiB"])
def test_what_is_no_size_is_refused(given: object) -> None:
    with pytest.raises(SpecError):
        Resources.of("p", "t", {"memory_bytes": given})


def test_an_unknown_field_gets_a_near_miss() -> None:
    misspelt: dict[str, Any] = {"attempt_max": 3}

    text = refusal(lambda: RetryPolicy(**misspelt))

    assert text == (
        "unknown field. transform=RetryPolicy, field=attempt_max\n  did you mean 'attempts_max'?"
    )


def test_a_user_who_builds_a_model_directly_gets_the_same_text() -> None:
    assert refusal(lambda: RetryPolicy(attempts_max=0)) == (
        "input should be greater than or equal to 1. "
        "transform=RetryPolicy, field=attempts_max, value=0"
    )


def test_transient_errors_are_classes_or_names() -> None:
    policy = RetryPolicy(transient_errors=(TimeoutError, "requests.HTTPError"))  # type: ignore[arg-type]

    assert policy.transient_errors == ("TimeoutError", "requests.HTTPError")


def test_durations_may_be_timedeltas() -> None:
    policy = RetryPolicy(backoff_s=timedelta(seconds=2), timeout_s=timedelta(minutes=1))  # type: ignore[arg-type]

    assert (policy.backoff_s, policy.timeout_s) == (2.0, 60.0)


def test_a_wait_that_starts_above_its_limit_is_refused() -> None:
    assert refusal(lambda: RetryPolicy(backoff_s=90)) == (
        "backoff_s must not exceed backoff_s_max. backoff_s=90, backoff_s_max=60. "
        "transform=RetryPolicy"
    )


def test_objectives_take_one_positional_value() -> None:
    assert Deadline(timedelta(minutes=30)).within == timedelta(minutes=30)
    assert Budget(5).usd == 5.0
    assert Weighted(0.25).weight == 0.25


def test_an_objective_out_of_range_says_which_value() -> None:
    assert refusal(lambda: Weighted(2)) == (
        "input should be less than or equal to 1. transform=Weighted, field=weight, value=2"
    )
    assert refusal(lambda: Deadline(timedelta(0))) == (
        "input should be greater than 0 seconds. "
        "transform=Deadline, field=within, value=datetime.timedelta(0)"
    )

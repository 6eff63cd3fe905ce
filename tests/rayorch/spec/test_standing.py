"""Whose work a run is, and what it waits for: what can be said, and what is refused."""

import pytest

from rayorch.errors import SpecError
from rayorch.spec import Standing
from rayorch.spec.standing import hours_of


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("22:00-06:00", (1320, 360)),
        ("9:30-10:00 UTC", (570, 600)),
        ("22:00-06:00+02:00", (1200, 240)),
        ("00:00-05:00-05:30", (330, 630)),
        ("01:00-04:00+02:00", (1380, 120)),
        ("always", (0, 0)),
    ],
)
def test_hours_are_of_the_day_in_utc_unless_they_say_how_far_east(
    text: str, minutes: tuple[int, int]
) -> None:
    assert hours_of(text) == minutes


@pytest.mark.parametrize("text", ["", "22-6", "25:00-06:00", "22:00-06:60", "at night"])
def test_what_are_no_hours_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SpecError) as refused:
        Standing.of("nightly", "", {"cheap": text})

    assert "hours are like 22:00-06:00 (UTC), 22:00-06:00+02:00, or always" in str(refused.value)


def test_hours_that_end_when_they_begin_are_refused() -> None:
    with pytest.raises(SpecError, match="are none: say always for all day"):
        Standing.of("nightly", "", {"cheap": "06:00-06:00"})


def test_what_is_said_takes_the_place_of_what_the_pipeline_says_and_nothing_else_does() -> None:
    own = Standing(tenant="finance", cheap="22:00-06:00", price_max=0.05)

    assert own.changed(None, None) is None
    changed = own.changed(None, 3, "always")

    assert changed == Standing(tenant="finance", priority=3, cheap="always", price_max=0.05)

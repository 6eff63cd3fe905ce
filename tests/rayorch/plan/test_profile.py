"""Profiles as files: what is in one, and what is refused."""

import zlib
from typing import Any

import msgspec
import numpy as np
import pytest

from rayorch.plan.errors import ProfileError
from rayorch.plan.estimate import Sums
from rayorch.plan.profile import (
    EVEN,
    LEVELS,
    VERSION,
    Overheads,
    Profile,
    RunnersSeen,
    StageProfile,
    drawn,
    dumped,
    parsed,
    shape_of,
)
from tests.rayorch.capacity import make


def test_a_profile_is_read_as_it_was_written() -> None:
    kept = make.profile(make.stage(spread=make.SKEWED), make.stage("totals", 4, after=(0,)))

    assert parsed(dumped(kept), "n.profile") == kept


def test_a_row_of_numbers_is_one_line_so_that_people_can_read_it() -> None:
    text = dumped(make.profile()).decode()

    assert len(text.splitlines()) < 80
    assert len(text) < 8_000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"version": VERSION + 1, "made_by": "9.0.1", "colour": "red"},
            f"rayorch 9.0.1: it is of version {VERSION + 1}, and up to version {VERSION} are",
        ),
        ({"version": VERSION + 1}, "written by a newer version, another rayorch"),
        ({"version": 0}, "this profile is of version 0, which never was"),
        ({"kind": "else"}, "this is no profile of a run"),
        ({"state": "failed"}, "of a run that did not succeed: it is failed"),
        ({"stages": []}, "the run had no tasks"),
        ({"colour": "red"}, "this profile is damaged: Object contains unknown field `colour`"),
        ({"whole_s": "long"}, "this profile is damaged: Expected `float`, got `str`"),
    ],
)
def test_what_cannot_be_reckoned_with_is_refused_with_what_to_do(
    change: dict[str, object], said: str
) -> None:
    content = msgspec.to_builtins(make.profile()) | change

    with pytest.raises(ProfileError) as caught:
        parsed(msgspec.json.encode(content), "n.profile")

    assert said in str(caught.value)
    assert "file=n.profile\n  " in str(caught.value)


def test_a_profile_of_an_older_version_is_read_as_it_was_meant() -> None:
    """Of the first version: nothing said how runners start, or of which sizes they were."""
    old = msgspec.to_builtins(make.profile()) | {"version": 1}
    assert not {"starts", "sized", "stood"} & {*old, *old["overheads"]}

    found = parsed(msgspec.json.encode(old), "n.profile")

    assert found.overheads.starts == EVEN
    assert (found.sized, found.stood) == ({}, {})


def test_a_new_field_is_a_new_version() -> None:
    """Who reads it with an older rayorch is told to upgrade, and not that the file is damaged.

    So when these names change, `VERSION` goes up by one, and what is written down here with it.
    """
    parts = (Profile, StageProfile, Overheads, RunnersSeen, Sums)
    names = [f"{part.__name__}.{name}" for part in parts for name in part.__struct_fields__]

    assert (VERSION, zlib.crc32(" ".join(names).encode())) == (2, 395962560)


@pytest.mark.parametrize("data", [b"", b"{", b"hello", b"[1, 2]"])
def test_a_file_that_is_something_else_is_no_profile(data: bytes) -> None:
    with pytest.raises(ProfileError, match="this is no profile"):
        parsed(data, "n.profile")


def test_a_stage_without_a_measurement_is_named() -> None:
    some = make.profile(make.stage(), make.stage("totals", after=(0,), measured=0))

    with pytest.raises(ProfileError, match="nothing was measured of totals"):
        parsed(dumped(some), "n.profile")


@pytest.mark.parametrize("shape", [(1.0,), (*EVEN[:-1], 0.5), (-1.0, *EVEN[1:])])
def test_a_distribution_is_quantiles_in_order(shape: tuple[float, ...]) -> None:
    some = make.profile(make.stage(spread=shape))

    with pytest.raises(ProfileError, match="a distribution of stage 'lines' is no list"):
        parsed(dumped(some), "n.profile")

    late = make.profile(overheads=Overheads(start_s=1.0, starts=shape))
    with pytest.raises(ProfileError, match="the distribution of the starts of runners is no list"):
        parsed(dumped(late), "n.profile")


@pytest.mark.parametrize(
    ("where", "number", "said"),
    [
        (("stages", 0, "overlap"), 1.5, "<= 1.0 - at `$.stages[0].overlap`"),
        (("stages", 0, "overhead_s"), -1.0, ">= 0.0 - at `$.stages[0].overhead_s`"),
        (("stages", 0, "cores"), 0.0, "> 0.0 - at `$.stages[0].cores`"),
        (("overheads", "start_s"), -1.0, ">= 0.0 - at `$.overheads.start_s`"),
        (("sized", "here", 0, "count"), 0, ">= 1 - at `$.sized[...][0].count`"),
        (("sized", "here", 0, "cores"), 0.0, "> 0.0 - at `$.sized[...][0].cores`"),
    ],
)
def test_a_number_that_nothing_can_have_is_refused_with_its_place(
    where: tuple[Any, ...], number: float, said: str
) -> None:
    some = make.profile(sized={"here": (RunnersSeen(2, 1.0, gpus=1.0),)})
    content = msgspec.json.decode(dumped(some))
    *way, last = where
    inner = content
    for each in way:
        inner = inner[each]
    inner[last] = number

    with pytest.raises(ProfileError) as caught:
        parsed(msgspec.json.encode(content), "n.profile")

    assert "this profile is damaged" in str(caught.value)
    assert said in str(caught.value)


def test_stages_come_after_those_before_them() -> None:
    with pytest.raises(ProfileError, match="comes after a stage that is not before it"):
        parsed(dumped(make.profile(make.stage(after=(0,)))), "n.profile")


@pytest.mark.parametrize("count", [1, 2, 3, 10, 99, 100, 5_000])
def test_values_that_are_drawn_keep_their_mean_and_the_largest(count: int) -> None:
    """What a run waits for is its largest task: of few tasks, too, one is as large."""
    values = drawn(make.SKEWED, count)

    assert values.size == count
    assert values.mean() == pytest.approx(1.0, rel=1e-3)
    assert (np.diff(values) >= -1e-9).all()
    if count >= 20:
        assert values[-1] == make.SKEWED[-1]


def test_a_shape_is_what_it_was_made_of() -> None:
    luck = np.random.default_rng(1)
    values = luck.lognormal(0.0, 0.8, 20_000)

    again = drawn(shape_of(values), 2_000)

    assert np.quantile(again, 0.9) == pytest.approx(
        np.quantile(values / values.mean(), 0.9), rel=0.03
    )
    assert again[-1] == pytest.approx(values.max() / values.mean(), rel=1e-3)
    assert len(LEVELS) == len(shape_of(values))


def test_nothing_in_a_profile_says_where_data_lies_or_what_it_is() -> None:
    """A profile is shared: its fields are numbers, and names of the pipeline, stages and pools."""
    texts = {"kind", "pipeline", "state", "made_by", "name"}

    fields = {field.name for field in msgspec.structs.fields(Profile) if field.type is str}

    assert fields <= texts

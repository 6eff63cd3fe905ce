"""What the relational operators ask of an exchange."""

import pytest

from rayorch.relational import (
    AggregateCode,
    AsofCode,
    Broadcast,
    DedupeCode,
    HashKeys,
    JoinCode,
    Keying,
    OperatorCode,
    RangeKeys,
    RepartitionCode,
    SortCode,
    SortKey,
    Spread,
    WindowCode,
    keying_of,
    sides_of,
)

A = SortKey(column="a")


@pytest.mark.parametrize(
    ("code", "keyings"),
    [
        (AggregateCode(by=("a", "b"), measures=()), [HashKeys(("a", "b"))]),
        (AggregateCode(by=(), measures=()), [HashKeys(())]),
        (WindowCode(by=("a",), order=(A,), columns=()), [HashKeys(("a",))]),
        (DedupeCode(by=("a",)), [HashKeys(("a",))]),
        (DedupeCode(), [HashKeys(None)]),
        (
            JoinCode(how="inner", left_on=("a",), right_on=("b",)),
            [HashKeys(("a",)), HashKeys(("b",))],
        ),
        (
            AsofCode(left_on="t", right_on="u", left_by=("a",), right_by=("b",)),
            [HashKeys(("a",)), HashKeys(("b",))],
        ),
        (AsofCode(left_on="t", right_on="u"), [Spread(), Broadcast()]),
        (SortCode(keys=(A,)), [RangeKeys((A,))]),
        (RepartitionCode(by=("a",)), [HashKeys(("a",))]),
        (RepartitionCode(by=("a",), ranges=True), [RangeKeys((A,))]),
        (RepartitionCode(parts=3), [Spread()]),
    ],
)
def test_an_operator_says_how_each_side_is_divided(
    code: OperatorCode, keyings: list[Keying]
) -> None:
    assert [keying_of(code, side) for side in range(sides_of(code))] == keyings

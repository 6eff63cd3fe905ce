"""Whose work a run is, how urgent it is among theirs, and whether it waits until it is cheap."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from rayorch.ids import DEFAULT_TENANT
from rayorch.spec.fields import Name, SpecModel

PRIORITY_MAX: Final = 100
"""More steps than anybody tells apart."""

Priority = Annotated[int, Field(ge=-PRIORITY_MAX, le=PRIORITY_MAX, strict=True)]
"""Higher is served first, among the runs of one tenant; 0 is usual, below it can wait."""
ALWAYS: Final = "always"
DAY_MIN: Final = 24 * 60
_TIME: Final = r"([01]?[0-9]|2[0-3]):([0-5][0-9])"
_HOURS: Final = re.compile(rf"{_TIME}-{_TIME}(?:\s*UTC|([+-]){_TIME})?")


def hours_of(text: str) -> tuple[int, int]:
    """Return the minutes of the day, in UTC, from and to which hours like `22:00-06:00+02:00` go.

    Raises: ValueError, when they are no such hours.
    """
    if text == ALWAYS:
        return 0, 0
    match = _HOURS.fullmatch(text)
    if match is None:
        raise ValueError(f"hours are like 22:00-06:00 (UTC), 22:00-06:00+02:00, or {ALWAYS}")
    *parts, sign, east_h, east_m = match.groups()
    from_h, from_m, to_h, to_m = (int(part) for part in parts)
    east_min = (60 * int(east_h) + int(east_m)) * (-1 if sign == "-" else 1) if sign else 0
    begin, end = ((60 * h + m - east_min) % DAY_MIN for h, m in ((from_h, from_m), (to_h, to_m)))
    if begin == end:
        raise ValueError(f"hours that end when they begin are none: say {ALWAYS} for all day")
    return begin, end


def checked_hours(text: str) -> str:
    """Return hours as they were written. Raises: ValueError."""
    hours_of(text)
    return text


Hours = Annotated[str, AfterValidator(checked_hours)]
PriceMax = Annotated[float, Field(gt=0.0)]


class Standing(SpecModel):
    """What a run is served by, beside others on the same cluster.

    `cheap` has the hours of the day that it waits for, `price_max` the USD that an hour of a core
    may cost; neither holds it past its deadline.
    """

    tenant: Name = DEFAULT_TENANT
    priority: Priority = 0
    cheap: Hours = ALWAYS
    price_max: PriceMax | None = None

    def changed(
        self,
        tenant: str | None,
        priority: int | None,
        cheap: str | None = None,
        price_max: float | None = None,
    ) -> "Standing | None":
        """Return this with what is said instead; None where nothing is.

        Raises: SpecError.
        """
        said = {"tenant": tenant, "priority": priority, "cheap": cheap, "price_max": price_max}
        if all(value is None for value in said.values()):
            return None
        fields = {name: getattr(self, name) if v is None else v for name, v in said.items()}
        return Standing.of(getattr(self, "name", ""), "", fields)

"""When work is cheap, as a run may ask for it. Pure values; `holding.py` follows them."""

from typing import Annotated, Final

import msgspec

DAY_MIN: Final = 24 * 60
Minute = Annotated[int, msgspec.Meta(ge=0, lt=DAY_MIN)]


class Cheap(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, forbid_unknown_fields=True):
    """When work is cheap: from one minute of the day to another (alike: all day), in UTC.

    `usd_core_h_max` is what a core may cost an hour; None: whatever it costs.
    """

    from_min: Minute = 0
    to_min: Minute = 0
    usd_core_h_max: float | None = None

    @property
    def hours(self) -> str:
        """The hours as they are written; "" for all day."""
        return (
            "" if self.from_min == self.to_min else f"{_hm(self.from_min)}-{_hm(self.to_min)} UTC"
        )

    def opens_s(self, at_s: float) -> float:
        """Return when the hours begin next; the time itself, where they go on."""
        if self.from_min == self.to_min:
            return at_s
        since_s = (at_s - self.from_min * 60.0) % (DAY_MIN * 60.0)
        length_s = (self.to_min - self.from_min) % DAY_MIN * 60.0
        return at_s if since_s < length_s else at_s + DAY_MIN * 60.0 - since_s


def _hm(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"

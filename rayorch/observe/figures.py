"""Numbers as people read them."""

import math
from typing import Final

_STEP: Final = 1024
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_WHOLE_FROM: Final = 100.0
_PLAIN_SECONDS_MAX: Final = 100
_MINUTES_MAX: Final = 120
_TIMES_MIN: Final = 3.0
_AMOUNT_DIGITS_MAX: Final = 9
_CORE_HOURS_MIN: Final = 0.01
_AMOUNT_CHARS_MIN: Final = len("0.00")
UNKNOWN: Final = "unknown"
# Below a limit, so many digits after the point: three that count.
_DIGITS: Final = ((9.995, 2), (99.95, 1))


def bytes_text(size_bytes: float) -> str:
    """Return a size with its unit: `1.5 GiB`."""
    if size_bytes < _STEP:
        return f"{size_bytes:.0f} B"
    size = float(size_bytes)
    unit = 0
    while size >= _STEP and unit + 1 < len(_UNITS):
        size /= _STEP
        unit += 1
    return f"{_three_digits(size)} {_UNITS[unit]}"


def needs_text(cores: float, memory_bytes: float, gpus: float) -> str:
    """Return what a task has to itself: `1 core, 2.00 GiB of memory, 0.5 GPUs`."""
    parts = [_several(cores, "core"), f"{bytes_text(memory_bytes)} of memory"]
    return ", ".join([*parts, _several(gpus, "GPU")] if gpus else parts)


def _several(number: float, what: str) -> str:
    return f"{number:g} {what}{'' if number == 1 else 's'}"


def count_text(count: float) -> str:
    """Return a count with its thousands apart: `6,001,215`."""
    return f"{count:,.0f}"


def times_text(ratio: float) -> str:
    """Return how many times as much: `0.333`, `3`, `6,923`."""
    return count_text(ratio) if ratio >= _WHOLE_FROM else f"{ratio:.3g}"


def seconds_text(duration_s: float, *, whole: bool = False) -> str:
    """Return a duration: `0.35 s`, `12.4 s`, `3 min 05 s`, `2 h 05 min`; `12 s` when `whole`."""
    if duration_s < _PLAIN_SECONDS_MAX:
        return f"{duration_s:.0f} s" if whole else f"{_three_digits(duration_s)} s"
    minutes, seconds = divmod(round(duration_s), 60)
    if minutes < _MINUTES_MAX:
        return f"{minutes} min {seconds:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def usd_text(usd: float | None) -> str:
    """Return dollars: `12.34 USD`, `0.0042 USD`, `unknown`."""
    return UNKNOWN if usd is None else f"{amount_text(usd)} USD"


def amount_text(amount: float) -> str:
    """Return an amount of money or of core hours with what counts of it: `12.34`, `0.0042`."""
    text = f"{amount:,.{amount_digits(amount)}f}"
    return text if amount >= 1.0 else text.rstrip("0").ljust(_AMOUNT_CHARS_MIN, "0")


def core_hours_text(core_hours: float) -> str:
    """Return an amount of work: `2.50 core hours`, `16.0 core seconds`."""
    if core_hours < _CORE_HOURS_MIN:
        return f"{_three_digits(core_hours * 3600.0)} core seconds"
    return f"{amount_text(core_hours)} core hours"


def amount_digits(amount: float) -> int:
    """Return how many digits after the point an amount needs, for three that count.

    There is never a power of ten instead: people compare these.
    """
    if amount >= 1.0 or amount <= 0.0:
        return 2
    return min(2 - math.floor(math.log10(amount)), _AMOUNT_DIGITS_MAX)


def change_text(actual: float, expected: float) -> str:
    """Return how far a number is from what was expected of it: `+5 %`, `x 12`."""
    ratio = actual / expected
    return f"x {ratio:.3g}" if ratio >= _TIMES_MIN else f"{ratio - 1.0:+.0%}".replace("%", " %")


def counted(count: int, noun: str) -> str:
    """Return a count of things: `1 task`, `16 tasks`."""
    return f"{count_text(count)} {noun}{'' if count == 1 else 's'}"


def _three_digits(number: float) -> str:
    for limit, digits in _DIGITS:
        if number < limit:
            return f"{number:.{digits}f}"
    return f"{number:.0f}"

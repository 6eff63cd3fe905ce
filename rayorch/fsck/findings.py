"""What a look at a home has found, and what is done about it."""

from typing import Final, Literal

import msgspec

Area = Literal["journal", "output", "exchange", "home"]
Severity = Literal[
    "damage",  # something is not what was written, and somebody would notice
    "doubt",  # not as it was left; perhaps on purpose
    "harmless",  # not what was written, and nobody needs it
    "leftover",  # in nobody's way, and nobody's
]
FAILING: Final[frozenset[Severity]] = frozenset({"damage"})


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One object and what is wrong with it.

    `repair` says what `--repair` does about it, `advice` what is left to a person.
    """

    area: Area
    severity: Severity
    object: str
    what: str
    repair: str = ""
    advice: str = ""
    is_repaired: bool = False


class Looked(msgspec.Struct, kw_only=True):
    """How much was looked at."""

    segments: int = 0
    events: int = 0
    snapshots: int = 0
    runs: int = 0
    outputs: int = 0
    files: int = 0
    size_bytes: int = 0
    unsummed: int = 0
    # Whether the last leader noted how far the log goes when it stopped. One that was killed, or is
    # at work, did so some seconds ago: that segments since then are missing, nobody would notice.
    is_end_noted: bool = True


class Examined(msgspec.Struct, kw_only=True):
    """A whole look at a home."""

    home: str
    looked: Looked
    findings: list[Finding]
    # What dead writers had left half-written, which no list shows, and a repair has removed.
    unfinished: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether nothing is damaged, or what was is mended."""
        return not any(f.severity in FAILING and not f.is_repaired for f in self.findings)

"""What all facts have in common."""

import msgspec


class Wire(
    msgspec.Struct,
    frozen=True,
    tag=True,
    omit_defaults=True,
    gc=False,
    forbid_unknown_fields=True,
):
    """Base of all that crosses a process border.

    What a newer version has added to a fact is refused by name, not read past.
    """

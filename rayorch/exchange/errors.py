"""The errors of exchanges.

RayorchError
├── ExchangeLostError          retry   files of an exchange are gone or not what was written
└── KeyRefusedError            fix     a column of this type cannot be a key
"""

from typing import ClassVar

from rayorch.errors import RayorchError, Remedy


class ExchangeLostError(RayorchError):
    """Files of an exchange are gone or damaged: the map tasks that made them have to run again.

    `parts` are the indices of those map tasks among the side's parts, and `keys` their objects.
    """

    remedy: ClassVar[Remedy] = "retry"

    def __init__(
        self, side: int, parts: tuple[int, ...], keys: tuple[str, ...], why: str = ""
    ) -> None:
        super().__init__(side, parts, keys, why)
        self.side = side
        self.parts = parts
        self.keys = keys
        self.why = why

    def __str__(self) -> str:
        named = ", ".join(
            f"{part} ({key})" for part, key in zip(self.parts, self.keys, strict=True)
        )
        return f"exchange files are lost: {self.why}. side={self.side}, parts={named}"


class KeyRefusedError(RayorchError):
    """Rows cannot be grouped or ordered by a column of this type."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, column: str, type_: str) -> None:
        super().__init__(column, type_)
        self.column = column
        self.type = type_

    def __str__(self) -> str:
        return (
            "a column of this type cannot be a key; make a key column of plain values from it. "
            f"column={self.column}, type={self.type}"
        )

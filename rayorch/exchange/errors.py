"""The errors of exchanges.

RayorchError
├── ExchangeLostError          retry   files of an exchange are gone or not what was written
├── KeyRefusedError            fix     a column of this type cannot be a key
└── KeysApartError             fix     columns of two sides are of types that never compare
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


class KeysApartError(RayorchError):
    """Columns that two sides are brought together by are of types that never compare."""

    remedy: ClassVar[Remedy] = "fix"
    fix = "cast one of them before the operator, with .select or .map"

    def __init__(
        self, dataset: str, left: str, left_type: str, right: str, right_type: str
    ) -> None:
        super().__init__(dataset, left, left_type, right, right_type)
        self.dataset = dataset
        self.left = left
        self.left_type = left_type
        self.right = right
        self.right_type = right_type

    def __str__(self) -> str:
        return (
            f"keys of {self.dataset!r} never compare: {self.left!r} of the left is "
            f"{self.left_type}, and {self.right!r} of the right is {self.right_type}"
        )

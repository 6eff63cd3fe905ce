"""The errors of cutting a stage that reads what other stages wrote, and of workload profiles.

RayorchError
├── ExchangeTypesError     fix     columns of one side differ, or keys of two sides never compare
├── NoColumnsError         fix     no task made a row, and none can say what columns it would have
├── ExchangeChangedError   fix     a task that ran again made other rows
└── ProfileError           fix     a file is no workload profile that can be reckoned with
"""

from typing import ClassVar

from rayorch.errors import RayorchError, Remedy


class ExchangeTypesError(RayorchError):
    """The columns that meet in an operator do not fit each other."""

    remedy: ClassVar[Remedy] = "fix"
    fix = "cast the columns to one type before the operator, with .select or .map"

    def __init__(self, dataset: str, why: str) -> None:
        super().__init__(dataset, why)
        self.dataset = dataset
        self.why = why

    def __str__(self) -> str:
        return f"the rows that {self.dataset!r} is made of do not fit each other: {self.why}"


class NoColumnsError(RayorchError):
    """Nothing is known of the columns of one side of an operator."""

    remedy: ClassVar[Remedy] = "fix"
    fix = "declare the schema of the function before it: @pipeline.map(..., schema=...)"

    def __init__(self, dataset: str, side: int) -> None:
        super().__init__(dataset, side)
        self.dataset = dataset
        self.side = side

    def __str__(self) -> str:
        which = ("left", "right")[self.side]
        return f"no row reaches {self.dataset!r} on its {which} side, and its columns are not known"


class ExchangeChangedError(RayorchError):
    """A task whose exchange file was lost ran again and made other rows than before."""

    remedy: ClassVar[Remedy] = "fix"
    fix = "make the functions before the operator give the same rows each time, then run anew"

    def __init__(self, dataset: str, what: str) -> None:
        super().__init__(dataset, what)
        self.dataset = dataset
        self.what = what

    def __str__(self) -> str:
        return f"lost input of {self.dataset!r} was made again, and differs: {self.what}"


class ProfileError(RayorchError):
    """A file that is to be a workload profile cannot be reckoned with."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, problem: str, file: str, fix: str) -> None:
        super().__init__(problem, file, fix)
        self.problem = problem
        self.file = file
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.problem}. file={self.file}\n  {self.fix}"

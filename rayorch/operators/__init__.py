"""Relational operators at work on the rows of one task: vectorised, within a memory limit."""

from rayorch.operators.kernel import Kernel
from rayorch.operators.opening import columns_apart, open_kernel, open_partial
from rayorch.operators.partial import Partial

__all__ = ["Kernel", "Partial", "columns_apart", "open_kernel", "open_partial"]

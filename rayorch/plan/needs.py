"""Whether some machine holds what each stage needs: said before a run waits for one for ever."""

from collections.abc import Collection, Mapping
from typing import Final

from rayorch.core.sizes import Size
from rayorch.errors import NoMachineError
from rayorch.program import Program, StageResources

GIB: Final = 1 << 30
UNLIMITED_BYTES: Final = 1 << 50
"""More memory than any machine has: nobody said how much there is."""


def check_needs(program: Program, machines: Mapping[str, Collection[Size]]) -> None:
    """Refuse a program of which a stage fits on no machine.

    A pool whose machines nobody describes takes whatever comes.
    Raises: NoMachineError, naming the first such stage, what it needs and what there is.
    """
    if not machines or not all(machines.values()):
        return
    for stage in program.stages:
        size = size_of(stage.resources)
        if not any(each.holds(size) for some in machines.values() for each in some):
            has = [f"{pool} has {size_text(_largest(some))}" for pool, some in machines.items()]
            raise NoMachineError(stage.name, size_text(size), ", ".join(has))


def size_of(needs: StageResources) -> Size:
    """Return the size of a runner that holds a task."""
    return Size(needs.cores, needs.memory_bytes, needs.gpus)


def size_text(size: Size) -> str:
    """Return `2 cores, 4 GiB and 1 GPU`."""
    cores = f"{size.cores:g} core{'' if size.cores == 1 else 's'}"
    gpus = f"{size.gpus:g} GPU{'' if size.gpus == 1 else 's'}" if size.gpus else "no GPU"
    if not 0 < size.memory_bytes < UNLIMITED_BYTES:
        return f"{cores} and {gpus}"
    return f"{cores}, {size.memory_bytes / GIB:.3g} GiB and {gpus}"


def _largest(some: Collection[Size]) -> Size:
    return max(some, key=lambda size: (size.gpus, size.memory_bytes, size.cores))

"""Contenders for keys, in processes of their own; imported by the children, so kept light."""

import multiprocessing
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from typing import Final

from connectors.store import open_store

PROCESSES: Final = 4
THREADS: Final = 4
START_S_MAX: Final = 60


def winners_of_races(url: str, rounds: int, options: Mapping[str, str]) -> list[list[str]]:
    """Let sixteen contenders in four processes race for each of some keys; name the winners."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(PROCESSES)
    with context.Pool(PROCESSES, _enter, (barrier,)) as pool:
        work = [(url, rounds, dict(options), number) for number in range(PROCESSES)]
        # One task each: the barrier holds a process until all of them have one.
        answers = pool.starmap(_contend, work, chunksize=1)
    return [[name for answer in answers for name in answer[number]] for number in range(rounds)]


_barriers: list[Barrier] = []


def _enter(barrier: Barrier) -> None:
    _barriers.append(barrier)


def _contend(url: str, rounds: int, options: dict[str, str], number: int) -> list[list[str]]:
    store = open_store(url, options)
    names = [f"{number}-{thread}" for thread in range(THREADS)]
    won: list[list[str]] = []
    with ThreadPoolExecutor(THREADS) as pool:
        for key in range(rounds):
            _barriers[0].wait(START_S_MAX)
            outcomes = pool.map(
                lambda name, key=key: store.put_if_absent(f"race/{key:04}", name.encode()), names
            )
            won.append(
                [name for name, outcome in zip(names, outcomes, strict=True) if outcome == "won"]
            )
    return won

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


def winners_of_races(
    url: str, rounds: int, options: Mapping[str, str], at_once: int = 1
) -> list[list[str]]:
    """Let sixteen contenders in four processes race for each of some keys; name the winners.

    `at_once` races go on together, where a store lets losers wait.
    """
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(PROCESSES)
    with context.Pool(PROCESSES, _enter, (barrier,)) as pool:
        work = [(url, rounds, dict(options), number, at_once) for number in range(PROCESSES)]
        # One task each: the barrier holds a process until all of them have one.
        answers = pool.starmap(_contend, work, chunksize=1)
    return [[name for answer in answers for name in answer[number]] for number in range(rounds)]


_barriers: list[Barrier] = []


def _enter(barrier: Barrier) -> None:
    _barriers.append(barrier)


def _contend(
    url: str, rounds: int, options: dict[str, str], number: int, at_once: int
) -> list[list[str]]:
    store = open_store(url, options)
    names = [f"{number}-{thread}" for thread in range(THREADS)]
    won: list[list[str]] = []
    with ThreadPoolExecutor(THREADS * at_once) as pool:
        for first in range(0, rounds, at_once):
            _barriers[0].wait(START_S_MAX)
            races = [
                [
                    pool.submit(store.put_if_absent, f"race/{key:04}", name.encode())
                    for name in names
                ]
                for key in range(first, min(first + at_once, rounds))
            ]
            won += [
                [
                    name
                    for name, outcome in zip(names, race, strict=True)
                    if outcome.result() == "won"
                ]
                for race in races
            ]
    return won

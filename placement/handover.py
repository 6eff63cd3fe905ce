"""Which tasks hand their output to which, where classes read each other one to one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from placement.nodes import overlap

if TYPE_CHECKING:
    from placement.model import Problem
    from placement.tables import Tables


def readers_of(problem: Problem, tables: Tables, k: int) -> list[tuple[int, list[list[int]]]]:
    """For each child that reads class k one to one: which of its tasks read each task of k."""
    count = problem.classes[k].count
    out = []
    for kid in tables.kids[k]:
        if not any(q == k and m == "one" for q, m, _ in tables.parents[kid]):
            continue
        readers: list[list[int]] = [[] for _ in range(count)]
        n = problem.classes[kid].count
        for i in range(n):
            for j in overlap(i, n, count):
                readers[j].append(i)
        out.append((kid, readers))
    return out


def readers_all(tables: Tables, k: int) -> list[int]:
    """The children that need all of class k before they begin."""
    return [
        c for c in tables.kids[k] if any(q == k and m == "all" for q, m, _ in tables.parents[c])
    ]


def inputs_one(problem: Problem, tables: Tables, k: int) -> list[int] | None:
    """How many tasks each task of class k reads one to one; None when it reads no class so."""
    deps = [q for q, m, _ in tables.parents[k] if m == "one"]
    if not deps:
        return None
    n = problem.classes[k].count
    sizes = [problem.classes[q].count for q in deps]
    return [sum(len(overlap(i, n, m)) for m in sizes) for i in range(n)]

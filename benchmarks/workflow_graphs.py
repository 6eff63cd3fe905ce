"""Make task graphs in the shapes of scientific workflows, to schedule them again and again.

    python -m benchmarks.workflow_graphs --out DIR [--seed N] [--per-family N]
    python -m benchmarks.placement_bench --graphs --in DIR --out PLANS --time-limit 10

Shapes follow what is published of Montage, Epigenomics, CyberShake, Seismology, SoyKB, Blast,
BWA, 1000Genome and SRASearch (Bharathi 2008, Juve 2013); seconds and bytes are drawn, no trace is
copied.  22 to 67 tasks, eight nodes of five speeds, each graph at three ratios: the mean edge takes
0.1, 1 or 5 times as long between nodes as the mean task on the mean node.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SPEEDS: Final = (0.7, 1.0, 1.0, 1.4, 1.4, 2.0, 2.0, 2.8)
RATIOS: Final = (0.1, 1.0, 5.0)
TASKS_MIN: Final = 22
TASKS_MAX: Final = 67


class Draft:
    """A graph in the making: each kind of task has its own mean seconds and bytes."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.work_s: dict[str, float] = {}
        self.edges: list[tuple[str, str, float]] = []

    def task(self, kind: str, mean_s: float, inputs: Sequence[str] = (), mb: float = 10.0) -> str:
        """Add a task that reads so many megabytes, or nearly, from each of some others."""
        name = f"{kind}_{len(self.work_s):03d}"
        self.work_s[name] = mean_s * self.rng.lognormvariate(-0.08, 0.4)
        for parent in inputs:
            self.edges.append((parent, name, mb * 1e6 * self.rng.lognormvariate(-0.18, 0.6)))
        return name


def montage(g: Draft, width: int) -> None:
    """Project, fit differences of neighbours, model the background, correct, add."""
    projected = [g.task("project", 12) for _ in range(width)]
    pairs = [(a, b) for k, a in enumerate(projected) for b in projected[k + 1 : k + 3]]
    fits = [g.task("difference", 8, pair, 8) for pair in pairs]
    model = g.task("background_model", 40, [g.task("concat", 20, fits, 0.1)], 0.1)
    fixed = [g.task("background", 8, [model, each], 6) for each in projected]
    added = g.task("add", 50, [g.task("table", 10, fixed, 6), *fixed], 8)
    g.task("view", 10, [g.task("shrink", 15, [added], 60)], 3)


def epigenomics(g: Draft, width: int) -> None:
    """Chains of four steps over the pieces of a lane, then three steps over all."""
    lanes = []
    for share in (width - width // 2, width // 2):
        split = g.task("split", 20)
        chains = []
        for _ in range(share):
            last = split
            for kind, seconds in (("filter", 5), ("sol2sanger", 3), ("bfq", 4), ("map", 180)):
                last = g.task(kind, seconds, [last], 12)
            chains.append(last)
        lanes.append(g.task("merge", 25, chains, 4))
    g.task("pileup", 40, [g.task("index", 20, [g.task("merge_all", 15, lanes, 20)], 30)], 30)


def cybershake(g: Draft, width: int) -> None:
    """Two large tensors, a synthesis for each rupture, peaks of each, two archives."""
    tensors = [g.task("extract", 110) for _ in range(2)]
    waves = [g.task("synthesis", 45, [tensors[k % 2]], 150) for k in range(width)]
    peaks = [g.task("peak", 3, [wave], 2) for wave in waves]
    g.task("zip_waves", 40, waves, 2)
    g.task("zip_peaks", 30, peaks, 0.1)


def seismology(g: Draft, width: int) -> None:
    """A deconvolution for each station, and one task over all."""
    g.task("misfit", 5, [g.task("deconvolve", 8) for _ in range(3 * width)], 1)


def soykb(g: Draft, width: int) -> None:
    """Six steps for each sample, calls for each of some regions, then merge and filter."""
    called = []
    for _ in range(max(2, width // 3)):
        last = g.task("align", 30)
        for kind, seconds in (("sort", 12), ("dedup", 15), ("groups", 10), ("target", 12)):
            last = g.task(kind, seconds, [last], 40)
        realigned = g.task("realign", 25, [last], 40)
        called += [g.task("haplotype", 35, [realigned], 20) for _ in range(3)]
    merged = g.task("merge_calls", 20, called, 5)
    for kind in ("snp", "indel"):
        g.task(f"filter_{kind}", 8, [g.task(f"select_{kind}", 12, [merged], 30)], 15)


def blast(g: Draft, width: int) -> None:
    """Split, search each piece, and two tasks that need every result."""
    split = g.task("split", 2)
    found = [g.task("search", 900, [split], 6) for _ in range(3 * width)]
    g.task("concat_results", 6, found, 4)
    g.task("concat_errors", 1, found, 1)


def bwa(g: Draft, width: int) -> None:
    """Index and split, align each piece against the index, two tasks over all."""
    index, split = g.task("index", 60), g.task("reduce", 20)
    found = [g.task("align", 8, [index, split], 10) for _ in range(3 * width)]
    g.task("concat", 4, found, 3)
    g.task("status", 1, found, 0.1)


def genome(g: Draft, width: int) -> None:
    """For each chromosome: pieces, their merge, a sift; then overlaps and frequencies."""
    for _ in range(max(2, width // 4)):
        pieces = [g.task("individuals", 50) for _ in range(5)]
        merged = g.task("individuals_merge", 25, pieces, 15)
        sifted = g.task("sifting", 6)
        for _ in range(3):
            g.task("mutation_overlap", 12, [merged, sifted], 20)
            g.task("frequency", 55, [merged, sifted], 20)


def srasearch(g: Draft, width: int) -> None:
    """Fetch and search each archive with one index, then merge in two steps."""
    index = g.task("index", 30)
    found = [
        g.task("search", 220, [index, g.task("fetch", 320)], 15) for _ in range(width + width // 2)
    ]
    half = len(found) // 2
    merged = [g.task("merge", 8, part, 6) for part in (found[:half], found[half:])]
    g.task("merge_all", 8, merged, 10)


FAMILIES: Final[dict[str, Callable[[Draft, int], None]]] = {
    each.__name__: each
    for each in (
        montage, epigenomics, cybershake, seismology, soykb, blast, bwa, genome, srasearch,
    )
}  # fmt: skip


def instance(family: str, *, seed: int, ratio: float) -> dict[str, Any]:
    """Make a graph of a family in the judge's second format; the ratio changes the bandwidth only.

    Widths are drawn until the graph has 22 to 67 tasks.
    """
    rng = random.Random(f"{family}/{seed}")
    while True:
        draft = Draft(rng)
        FAMILIES[family](draft, rng.randint(6, 21))
        if TASKS_MIN <= len(draft.work_s) <= TASKS_MAX:
            break
    run_s = statistics.fmean(draft.work_s.values()) / statistics.fmean(SPEEDS)
    size = statistics.fmean(edge[2] for edge in draft.edges)
    return {
        "tasks": draft.work_s,
        "edges": [list(edge) for edge in draft.edges],
        "nodes": {f"n{k}": speed for k, speed in enumerate(SPEEDS)},
        "bandwidth": size / (ratio * run_s),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Write the graphs of every family; the same seed gives the same files."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.workflow_graphs",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="where graphs are written")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--per-family", type=int, default=2, help="graphs of each family")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    for family in FAMILIES:
        for k in range(options.per_family):
            for ratio in RATIOS:
                graph = instance(family, seed=options.seed + k, ratio=ratio)
                name = f"{family}-{options.seed + k}-c{ratio:g}.json"
                (options.out / name).write_text(json.dumps(graph))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.chaos`: hurt real clusters at random, and compare the data.

Each seed is at least ten faults in the middle of one run. A seed that fails prints the command
that plays it again; the exit code is then 1.
"""

import argparse
import sys
from typing import Final, get_args

from tests.chaos.campaign import play
from tests.chaos.faults import Where
from tests.chaos.play import Verdict

WHERES: Final[tuple[Where, ...]] = get_args(Where)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--store", choices=[*WHERES, "both"], default="both")
    parser.add_argument("--verbose", action="store_true", help="print what happened to each")
    options = parser.parse_args()
    wheres = WHERES if options.store == "both" else [options.store]
    seeds = range(options.first, options.first + options.runs)
    failed = total = 0
    for where in wheres:
        for verdict in play(seeds, where):
            total += 1
            failed += bool(verdict.wrong)
            tell(verdict, verbose=options.verbose)
    print(f"{total - failed} of {total} runs came out right")
    return 1 if failed else 0


def tell(verdict: Verdict, *, verbose: bool = False) -> None:
    """Print what came of a seed; of one that failed, the faults and how to see it again."""
    state = "FAILED" if verdict.wrong else "ok"
    print(
        f"{state:<6} {verdict.where:<5} seed {verdict.seed:>5}: {verdict.faults} faults, "
        f"{verdict.redone:6.1%} done again, {verdict.seconds:.0f} s",
        flush=True,
    )
    if verdict.wrong or verbose:
        print("\n".join(f"    {line}" for line in [*verdict.story, *verdict.wrong]), flush=True)
    if verdict.wrong:
        print(
            f"    again: make chaos RUNS=1 FIRST={verdict.seed} STORE={verdict.where}", flush=True
        )


if __name__ == "__main__":
    sys.exit(main())

"""Simulate many seeds: `python -m rayorch.sim --seeds 200 [--first N]`."""

import argparse
import sys
from collections.abc import Sequence

from rayorch.sim.simulate import simulate


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate; print what is violated, with the command that shows it again."""
    parser = argparse.ArgumentParser(prog="python -m rayorch.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many (default: 100)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default: 0)")
    options = parser.parse_args(arguments)
    bad = virtual_s = events = committed = 0
    for seed in range(options.first, options.first + options.seeds):
        outcome = simulate(seed)
        virtual_s += int(outcome.virtual_s)
        events += outcome.events
        committed += outcome.committed
        if outcome.violations:
            bad += 1
            for violation in outcome.violations:
                sys.stdout.write(f"seed {seed}: {violation}\n")
            sys.stdout.write(f"  again: python -m rayorch.sim --first {seed} --seeds 1\n")
    sys.stderr.write(
        f"{options.seeds} seeds, {bad} with violations; {committed} tasks committed, "
        f"{events} events, {virtual_s} virtual seconds\n"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())

"""`python -m tests.fuzz TARGET [--seed N] [--seconds S]`, or `--input HEX` for one input alone."""

from __future__ import annotations

import argparse
import random
import sys

from tests.fuzz import cursor_targets, targets  # noqa: F401 - they register themselves
from tests.fuzz.canary import CANARY
from tests.fuzz.fuzzer import for_seconds, fuzz, run_once
from tests.fuzz.registry import TARGETS


def main() -> int:
    choices = {**TARGETS, CANARY.name: CANARY}
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz a part of presencedb.")
    parser.add_argument("target", choices=sorted(choices))
    parser.add_argument("--seed", type=int, help="do again what a run with this seed did; without it, a new one")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long, if nothing is found (%(default)s)")
    parser.add_argument("--input", metavar="HEX", help="run this one input and show what it does; - is the empty one")
    arguments = parser.parse_args()
    target = choices[arguments.target]
    if arguments.input is not None:
        print(run_once(target, bytes.fromhex(arguments.input.removeprefix("-"))))
        return 0
    seed = random.SystemRandom().getrandbits(32) if arguments.seed is None else arguments.seed
    print(f"{target.name}: seed {seed}", flush=True)
    outcome = fuzz(target, seed=seed, keep_going=for_seconds(arguments.seconds))
    print(f"{outcome.runs} runs, {outcome.behaviours} behaviours")
    if outcome.finding is None:
        return 0
    print(outcome.finding)
    return 1


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.fuzz TARGET [--seed N] [--seconds S]`, or `--input HEX` for one input alone.

With `--atheris` the inputs are chosen by which lines of our Python they reach (atheris, from PyPI, on libFuzzer).
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final, NoReturn

from tests.fuzz.registry import TARGETS, Target

WATCHED: Final = ["presencedb.protocol", "presencedb.ids", "presencedb.client", "presencedb.credentials"]
"""The parts that read what strangers send."""
INPUT_BYTES_MAX: Final = 4096


def watching(by_coverage: bool) -> AbstractContextManager[None]:
    """While this is open, what is imported of `WATCHED` will tell atheris where it goes."""
    if not by_coverage:
        return nullcontext()
    import atheris

    instrumenting: AbstractContextManager[None] = atheris.instrument_imports(include=WATCHED)
    return instrumenting


def known_targets() -> dict[str, Target]:
    """Every target by name; they register themselves when they are imported."""
    from tests.fuzz import cursor_targets, targets  # noqa: F401
    from tests.fuzz.canary import CANARY

    return {**TARGETS, CANARY.name: CANARY}


def fuzz_by_coverage(target: Target, seconds: float, seed: int) -> NoReturn:
    """Run libFuzzer on a target, and exit with its status: 0, or another and the input that was found."""
    import atheris

    from tests.fuzz.fuzzer import run_once

    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for number, data in enumerate(target.seeds):
            (corpus / str(number)).write_bytes(data)
        bounds = [f"-max_total_time={seconds:.0f}", f"-max_len={INPUT_BYTES_MAX}", f"-seed={seed}"]
        atheris.Setup(
            [sys.argv[0], *bounds, f"-artifact_prefix={folder}/", str(corpus)], lambda data: run_once(target, data)
        )
        atheris.Fuzz()
    sys.exit(0)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz a part of presencedb.")
    parser.add_argument("target", help="its name; a wrong one shows which there are")
    parser.add_argument("--seed", type=int, help="do again what a run with this seed did; without it, a new one")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long, if nothing is found (%(default)s)")
    parser.add_argument("--input", metavar="HEX", help="run this one input and show what it does; - is the empty one")
    parser.add_argument("--atheris", action="store_true", help="be guided by coverage; needs the package atheris")
    arguments = parser.parse_args()
    with watching(arguments.atheris):
        choices = known_targets()
        from tests.fuzz.fuzzer import for_seconds, fuzz, run_once
    if arguments.target not in choices:
        parser.error(f"no target {arguments.target!r}; there are: {', '.join(sorted(choices))}")
    target = choices[arguments.target]
    if arguments.input is not None:
        print(run_once(target, bytes.fromhex(arguments.input.removeprefix("-"))))
        return 0
    seed = random.SystemRandom().getrandbits(32) if arguments.seed is None else arguments.seed
    print(f"{target.name}: seed {seed}", flush=True)
    if arguments.atheris:
        fuzz_by_coverage(target, arguments.seconds, seed)
    outcome = fuzz(target, seed=seed, keep_going=for_seconds(arguments.seconds))
    print(f"{outcome.runs} runs, {outcome.behaviours} behaviours")
    if outcome.finding is None:
        return 0
    print(outcome.finding)
    return 1


if __name__ == "__main__":
    sys.exit(main())

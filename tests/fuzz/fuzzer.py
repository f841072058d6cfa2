"""The loop: mutate, run, keep what behaved in a new way, stop at the first finding. The same seed does the same again."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from random import Random
from types import FrameType
from typing import Final

from tests.fuzz.mutation import mutate
from tests.fuzz.registry import Target

CORPUS_MAX: Final = 2_000
HANG_S: Final = 10.0
"""An input that takes this much time of the processor is a finding; the slowest take some milliseconds."""


class Hang(AssertionError):
    """The target did not come back."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An input that the target must not fail on, and what it did."""

    target: str
    seed: int
    runs: int
    data: bytes
    error: BaseException

    def __str__(self) -> str:
        return (
            f"{self.target} failed with {type(self.error).__name__}: {self.error}\n"
            f"after {self.runs} runs of: python -m tests.fuzz {self.target} --seed {self.seed}\n"
            f"again, alone:  python -m tests.fuzz {self.target} --input {self.data.hex() or '-'}"
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run of the fuzzer went."""

    runs: int
    behaviours: int
    finding: Finding | None


def fuzz(target: Target, *, seed: int, keep_going: Callable[[int], bool]) -> Outcome:
    """Fuzz until there is a finding, or `keep_going`, called with the number of runs so far, says no.

    Only the main thread may call this: a hang is noticed by a signal.
    """
    rng = Random(seed)
    corpus = list(target.seeds)
    behaviours: set[Hashable] = set()
    runs = 0
    while keep_going(runs):
        data = target.seeds[runs] if runs < len(target.seeds) else mutate(rng.choice(corpus), corpus, rng)
        runs += 1
        try:
            behaviour = run_once(target, data)
        except Exception as error:
            return Outcome(runs, len(behaviours), Finding(target.name, seed, runs, data, error))
        if behaviour not in behaviours:
            behaviours.add(behaviour)
            if len(corpus) < CORPUS_MAX:
                corpus.append(data)
    return Outcome(runs, len(behaviours), None)


def for_seconds(duration_s: float) -> Callable[[int], bool]:
    """To keep going for so long, and through all seeds at least."""
    end = time.monotonic() + duration_s
    return lambda runs: runs < 100 or time.monotonic() < end


def run_once(target: Target, data: bytes) -> Hashable:
    """Run a target on one input.

    Raises:
        Hang: it did not come back.
        Exception: what it has found.
    """
    before = signal.signal(signal.SIGVTALRM, _on_alarm)
    signal.setitimer(signal.ITIMER_VIRTUAL, HANG_S)
    try:
        return target.run(data)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _on_alarm(_number: int, _frame: FrameType | None) -> None:
    raise Hang(f"it did not come back within {HANG_S:g} s of processor time")

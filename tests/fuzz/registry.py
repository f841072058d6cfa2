"""What can be fuzzed: a target is a name, inputs to begin with, and a function that raises when it has found something."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to fuzz.

    Attributes:
        run: takes an input. Whatever it raises is a finding. What it returns says how the input was taken; an input that
            was taken in a new way is kept, and mutated further.
        seeds: inputs to begin with.
    """

    name: str
    run: Callable[[bytes], Hashable]
    seeds: tuple[bytes, ...]


TARGETS: Final[dict[str, Target]] = {}


def register(target: Target) -> Target:
    """Add a target.

    Raises:
        ValueError: there is one of that name, or it has nothing to begin with.
    """
    if target.name in TARGETS or not target.seeds:
        raise ValueError(f"the fuzz target {target.name} is there already, or has no seeds")
    TARGETS[target.name] = target
    return target

"""What happens to feeds and their node over a hostile network: steps as plain data, made from a seed, printed and replayed.

A step names a method of `feeds_world.World` and its arguments. Steps come in stretches, each ending in a `settle`, at which
everything is to be found right.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from random import Random
from typing import Any, Final, NamedTuple, get_args

from presencedb import Id
from presencedb.client.subscription import OnGap

USERS: Final[tuple[Id, ...]] = (1, 2, 2**40, "alice", "bob", "0190c5a1-7b6e-7cc1-8a4e-2f6d6f0e9a11", "käthe", 7, "zoe", 8)
WATCHED_AT_FIRST: Final = USERS[:6]
MARKER: Final = "marker"
"""Everybody watches it, always."""
CROWD_FIRST: Final = 100_000
CROWD_MAX: Final = 800
CLIENTS: Final = ("asyncio", "blocking")
FEEDS: Final = ("watch", "follow")
STEPS_A_STRETCH: Final = 8


class Step(NamedTuple):
    """One thing that happens."""

    name: str
    arguments: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(repr, self.arguments))})"


class Kind(NamedTuple):
    """One way to read changes."""

    client: str
    feed: str
    on_gap: OnGap

    def __repr__(self) -> str:
        return " ".join(self)


KINDS: Final = tuple(Kind(*names) for names in product(CLIENTS, FEEDS, get_args(OnGap)))
WATCHES: Final = tuple(kind for kind in KINDS if kind.feed == "watch")


def make_steps(seed: int, stretch_count: int) -> list[Step]:
    """The same steps for the same seed, whatever the machine."""
    random = Random(seed)
    names = list(_WEIGHTS)
    steps: list[Step] = []
    for _ in range(stretch_count):
        drawn = random.choices(names, [_WEIGHTS[name] for name in names], k=STEPS_A_STRETCH)
        steps += [Step(name, _ARGUMENTS[name](random)) for name in drawn]
        steps.append(Step("settle"))
    return steps


def crowd(count: int) -> list[Id]:
    """The first so many of many users."""
    return list(range(CROWD_FIRST, CROWD_FIRST + count))


def _some_users(random: Random) -> tuple[Id, ...]:
    return tuple(random.sample(USERS, random.randint(1, 5)))


def _added_or_removed(random: Random) -> tuple[Any, ...]:
    kinds = random.sample(WATCHES, random.choice((1, 2, len(WATCHES))))
    return kinds, _some_users(random), random.choice((0, 0, 3, 300))


def _nothing(random: Random) -> tuple[Any, ...]:
    return ()


_WEIGHTS: Final = {
    "beat": 8,
    "sign_off": 6,
    "flicker": 4,
    "churn": 3,
    "crowd_comes": 3,
    "crowd_leaves": 2,
    "wait_for_timeouts": 1,
    "pause": 3,
    "cut": 3,
    "cut_after": 4,
    "stall": 2,
    "resume": 2,
    "split": 2,
    "delay": 2,
    "refuse": 1,
    "forget": 2,
    "stop": 1,
    "kill": 1,
    "add": 4,
    "remove": 3,
    "reopen": 4,
}
_ARGUMENTS: Final[dict[str, Callable[[Random], tuple[Any, ...]]]] = {
    "beat": lambda random: (_some_users(random),),
    "sign_off": lambda random: (_some_users(random),),
    "flicker": lambda random: (_some_users(random), random.randint(1, 6)),
    "churn": lambda random: (_some_users(random), random.randint(4, 12)),
    "crowd_comes": lambda random: (random.choice((20, CROWD_MAX)),),
    "crowd_leaves": lambda random: (random.choice((10, CROWD_MAX)),),
    "wait_for_timeouts": _nothing,
    "pause": lambda random: (random.choice((0.01, 0.06, 0.3)),),
    "cut": lambda random: (random.random() < 0.5,),
    "cut_after": lambda random: (
        random.choice((1, 5, 40, 300, 5000)),
        random.choice(("TO_SERVER", "TO_CLIENT", "TO_CLIENT")),
        random.random() < 0.5,
    ),
    "stall": lambda random: (random.choice(("TO_SERVER", "TO_CLIENT", "BOTH")),),
    "resume": _nothing,
    "split": lambda random: (random.choice((11, 100, 1000)),),
    "delay": lambda random: (random.choice((0.005, 0.05)),),
    "refuse": _nothing,
    "forget": _nothing,
    "stop": lambda random: (random.choice((0.3, 1.3)),),
    "kill": lambda random: (random.random() < 0.4,),
    "add": _added_or_removed,
    "remove": _added_or_removed,
    "reopen": lambda random: (random.choice(KINDS), random.choice(("here", "at the last settle"))),
}

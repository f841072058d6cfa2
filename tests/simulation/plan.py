"""What will happen in a story: users and what they do, accidents and when they are over. All of it from one seed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Final

from tests.simulation.cluster import Shape
from tests.simulation.invariants import KNOWN_MS, LATE_MS

BEGIN_MS: Final = 1_000
"""When the first accident may happen."""
USERS: Final = 8
LOSSY_ROUND_MS: Final = 1_000
"""What a portion lost twice on the way takes."""
_REST_MS: Final = 300
"""Between the healing of one accident and the next one, beside what the cluster needs to know everything again."""
_HOUR_MS: Final = 3_600_000


class Kind(Enum):
    """What may happen."""

    KILL = "kill"
    """A process is killed, and started anew at the end."""
    PAUSE = "pause"
    CUT = "cut"
    """A link carries nothing."""
    SLOW = "slow"
    LOSSY = "lossy"
    CLOCK = "clock"
    """The wall clock of a process is set; there is no end to it."""


_KINDS: Final = {Kind.KILL: 2, Kind.PAUSE: 2, Kind.CUT: 2, Kind.SLOW: 1, Kind.LOSSY: 1, Kind.CLOCK: 1}
"""How often one happens beside the others."""


@dataclass(frozen=True, slots=True)
class Accident:
    """One thing that happens.

    Attributes:
        names: the process, or the two ends of the link.
        amount: SLOW: the longest delay in ms; LOSSY: lost portions in a hundred; CLOCK: ms.
    """

    kind: Kind
    names: tuple[str, ...]
    begin_ms: int
    end_ms: int
    amount: int = 0

    def __str__(self) -> str:
        amount = f" {self.amount}" if self.amount else ""
        times = f"from {self.begin_ms / 1000:g} to {self.end_ms / 1000:g} s"
        return f"{self.kind.value}{amount} {' - '.join(self.names)} {times}"


@dataclass(frozen=True, slots=True)
class Phase:
    """A time in which a user beats; then it stops, or signs off."""

    begin_ms: int
    end_ms: int
    signs_off: bool


@dataclass(frozen=True, slots=True)
class UserPlan:
    """What one user does, in one process of the application. Who beats in the last phase does so to the end."""

    user_id: int
    application: str
    interval_ms: int
    phases: tuple[Phase, ...]
    stays: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole story.

    Attributes:
        storm: there may be several accidents at a time.
        healed_ms: when the last accident is over, and whoever leaves has left.
        end_ms: when all must be right.
    """

    seed: int
    shape: Shape
    storm: bool
    users: tuple[UserPlan, ...]
    accidents: tuple[Accident, ...]
    healed_ms: int
    end_ms: int


def make_plan(
    seed: int, *, nodes: int | None = None, replicas: int | None = None, members: bool = True, storm: bool = False
) -> Plan:
    """The story of a seed.

    Args:
        nodes: how many; None: as the seed says.
        replicas: R; None: as the seed says.
        members: whether the nodes know of each other.
        storm: several accidents at a time; else each begins when the cluster has got over the one before.
    """
    random = Random(seed)
    node_count = nodes or random.choice((1, 2, 3, 3, 4))
    shape = Shape(
        nodes=node_count,
        replicas=min(replicas or random.choice((1, 2, 2, 2, 3)), node_count) if members else 1,
        routers=random.choice((1, 2)),
        applications=random.choice((2, 3)),
        ttl_ms=random.choice((1_500, 2_000)),
        tick_ms=random.choice((50, 100)),
        members=members,
    )
    accidents = _draw_storm(random, shape) if storm else _draw_accidents(random, shape)
    healed_ms = max((accident.end_ms for accident in accidents), default=BEGIN_MS) + _REST_MS
    warm_up_ms = shape.ttl_ms if storm or shape.replicas == 1 else 0
    end_ms = healed_ms + shape.ttl_ms + max(KNOWN_MS + warm_up_ms, LATE_MS) + _REST_MS
    users = tuple(_draw_user(random, shape, number + 1, healed_ms) for number in range(USERS))
    return Plan(seed, shape, storm, users, accidents, healed_ms, end_ms)


def copy_age_ms(plan: Plan) -> int:
    """By how much a copy may be older than the truth: by the longest round trip between two nodes.

    Where there is one accident at a time, nothing is copied over a link that is slow at the time.
    """
    if not plan.storm:
        return 0
    between_nodes = [one for one in plan.accidents if len(one.names) == 2 and set(one.names) <= set(plan.shape.node_names)]
    slow_ms = max((2 * one.amount for one in between_nodes if one.kind is Kind.SLOW), default=0)
    return max(slow_ms, LOSSY_ROUND_MS if any(one.kind is Kind.LOSSY for one in between_nodes) else 0)


def known_again_ms(shape: Shape) -> int:
    """How long after the end of an accident the next one may begin, so that there is only one at a time."""
    return KNOWN_MS + (shape.ttl_ms if shape.replicas == 1 else 0) + _REST_MS


def _draw_accidents(random: Random, shape: Shape) -> tuple[Accident, ...]:
    accidents = []
    begin_ms = BEGIN_MS
    for _ in range(random.choice((1, 2, 2, 3))):
        begin_ms += random.randrange(0, 500)
        accident = _draw_accident(random, shape, begin_ms)
        accidents.append(accident)
        begin_ms = accident.end_ms + known_again_ms(shape)
    return tuple(accidents)


def _draw_storm(random: Random, shape: Shape) -> tuple[Accident, ...]:
    """Several at a time, of which no two happen to the same process or link."""
    accidents: list[Accident] = []
    for _ in range(random.randrange(3, 7)):
        accident = _draw_accident(random, shape, BEGIN_MS + random.randrange(0, 3 * shape.ttl_ms))
        if all(set(accident.names) != set(other.names) for other in accidents):
            accidents.append(accident)
    return tuple(accidents)


def _draw_accident(random: Random, shape: Shape, begin_ms: int) -> Accident:
    kind = random.choices(tuple(_KINDS), tuple(_KINDS.values()))[0]
    end_ms = begin_ms + random.choice((random.randrange(50, 1_000), random.randrange(500, 2 * shape.ttl_ms + 500)))
    if kind in {Kind.KILL, Kind.PAUSE}:
        return Accident(kind, (random.choice(shape.node_names * 2 + shape.router_names),), begin_ms, end_ms)
    if kind is Kind.CLOCK:
        amount = random.choice((-1, 1)) * random.randrange(1, _HOUR_MS)
        return Accident(kind, (random.choice(shape.node_names),), begin_ms, begin_ms, amount)
    amount = {Kind.SLOW: random.randrange(20, 400), Kind.LOSSY: random.randrange(2, 30)}.get(kind, 0)
    return Accident(kind, _draw_link(random, shape), begin_ms, end_ms, amount)


def _draw_link(random: Random, shape: Shape) -> tuple[str, str]:
    """Two that talk to each other."""
    node = random.choice(shape.node_names)
    others = [name for name in shape.node_names if name != node]
    kinds = [shape.router_names, [name for name in shape.application_names if is_cluster_client(name)]]
    if others and shape.members:
        kinds += [others, others]
    talker = random.choice(random.choice(kinds))
    if random.random() < 0.15:
        applications = [name for name in shape.application_names if not is_cluster_client(name)]
        return random.choice(applications), random.choice(shape.router_names)
    return talker, node


def is_cluster_client(application: str) -> bool:
    """Whether a process of the application talks to the owners itself: every second one does."""
    return int(application.removeprefix("a")) % 2 == 0


def _draw_user(random: Random, shape: Shape, user_id: int, healed_ms: int) -> UserPlan:
    interval_ms = random.choice((shape.ttl_ms // 3, shape.ttl_ms // 3, shape.ttl_ms // 2))
    phases = []
    begin_ms = random.choice((0, 0, random.randrange(0, healed_ms)))
    while True:
        end_ms = begin_ms + random.randrange(100, 4 * shape.ttl_ms)
        if end_ms >= healed_ms:
            break
        phases.append(Phase(begin_ms, end_ms, random.random() < 0.4))
        begin_ms = end_ms + random.randrange(1, 3 * shape.ttl_ms)
        if begin_ms >= healed_ms:
            break
    stays = random.random() < 0.6
    if begin_ms < healed_ms or stays:
        begin_ms = min(begin_ms, healed_ms - 1)
        phases.append(Phase(begin_ms, healed_ms, random.random() < 0.4))
    return UserPlan(user_id, random.choice(shape.application_names), interval_ms, tuple(phases), stays)

"""A story: a plan happens to a cluster, users live, applications ask about everybody all the time, the judge watches."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import structlog

from presencedb.errors import Error
from tests.simulation.cluster import AUDITOR, Asker, Cluster
from tests.simulation.invariants import NS_PER_MS, Judge
from tests.simulation.plan import Accident, Kind, Plan, UserPlan, copy_age_ms, is_cluster_client
from tests.simulation.process import Process
from tests.simulation.world import World

STEP_S: Final = 0.05
ASK_MS: Final = (60, 240)
"""The range from which an application's wait between two questions about everybody is drawn."""
JUST_RESUMED_MS: Final = 1_200
TASKS_MAX: Final = 64
"""A process of such a story has this many tasks at the end, unless it loses them."""
_TAILS_MS: Final = {Kind.SLOW: 500, Kind.LOSSY: 1_500}
"""How long after such an accident what was sent before its end is under way."""
_FAILING: Final = {"error", "critical", "exception"}


@dataclass(slots=True)
class Outcome:
    """How a story ended.

    Attributes:
        violations: what was wrong; empty where all is well.
        digest: of everything that was answered and told, and when: equal for equal seeds.
        answers: how many there were about one user each.
        events: how many changes the feeds told.
    """

    violations: list[str]
    digest: str
    answers: int
    events: int


@dataclass(slots=True)
class _Happening:
    at_ms: int
    what: str
    do: Callable[[], None]


@dataclass(slots=True)
class Story:
    """One plan, played in one world."""

    plan: Plan
    world: World
    cluster: Cluster
    judge: Judge
    tell: Callable[[str], None]
    answers: int = 0
    events: int = 0
    _digest: Any = field(default_factory=hashlib.sha256)
    _shown: dict[tuple[str, int], bool | None] = field(default_factory=dict)
    _away: dict[str, tuple[int, int]] = field(default_factory=dict)
    _wrong: list[Accident] = field(default_factory=list)
    _askers: dict[str, Awaitable[Asker]] = field(default_factory=dict)

    def play(self) -> None:
        """Let it happen, to the first violation or to the end."""
        plan, cluster = self.plan, self.cluster
        for name in plan.shape.node_names:
            cluster.start_node(name, anew=False)
        for name in plan.shape.router_names:
            cluster.start_router(name)
        self.world.run_for(STEP_S)
        for name in plan.shape.application_names:
            self._askers[name] = cluster.start_application(name, as_cluster_client=is_cluster_client(name))
        for name in plan.shape.node_names:
            cluster.auditor.start(self._follow(name))
        self.world.run_for(STEP_S)
        self._judge_calm()
        for user in plan.users:
            cluster.running[user.application].start(self._live(user))
        for name in plan.shape.application_names:
            cluster.running[name].start(self._ask(name))
        happenings = sorted(self._happenings(), key=lambda happening: happening.at_ms)
        while self._now_ms < plan.end_ms and not self._violated():
            while happenings and happenings[0].at_ms <= self._now_ms:
                happening = happenings.pop(0)
                if happening.what:
                    self._say(happening.what)
                happening.do()
            self.world.run_for(STEP_S)
            self.judge.look(cluster.running)
        if not self._violated():
            self._look_at_the_end()

    # --- accidents ---------------------------------------------------------------------------------------------------

    def _happenings(self) -> list[_Happening]:
        found = []
        for accident in self.plan.accidents:
            begin, end = self._effects(accident)
            found.append(_Happening(accident.begin_ms, f"*** {accident}", partial(self._begin, accident, begin)))
            if end is not None:
                found.append(_Happening(accident.end_ms, f"*** over: {accident}", end))
                found.append(_Happening(accident.end_ms + _TAILS_MS.get(accident.kind, 0), "", partial(self._end, accident)))
        return found

    def _begin(self, accident: Accident, do: Callable[[], None]) -> None:
        do()
        if accident.kind is not Kind.CLOCK:
            self._wrong.append(accident)
        self._judge_calm()

    def _end(self, accident: Accident) -> None:
        self._wrong.remove(accident)
        self._judge_calm()

    def _judge_calm(self) -> None:
        """With some killed it is as calm as with all of them, once it is found out."""
        shape = self.plan.shape
        killed = [accident.names[0] for accident in self._wrong if accident.kind is Kind.KILL]
        routers = sum(name in shape.router_names for name in killed)
        holding = len(killed) < len(self._wrong)
        calm = not holding and routers < shape.routers and len(killed) - routers < shape.replicas
        self.judge.changed(calm=calm, all_alive=not killed, holding=holding)

    def _effects(self, accident: Accident) -> tuple[Callable[[], None], Callable[[], None] | None]:
        names = accident.names
        if accident.kind is Kind.KILL:
            return (lambda: self.cluster.kill(names[0])), (lambda: self._restart(names[0]))
        if accident.kind is Kind.PAUSE:
            return (lambda: self._pause(names[0])), (lambda: self._resume(names[0]))
        if accident.kind is Kind.CLOCK:
            return (lambda: self._set_clock(names[0], accident.amount)), None
        link = self.cluster.link(*names)
        usual_ms = link.delay_ms

        def begin() -> None:
            link.is_cut = accident.kind is Kind.CUT
            link.loss = accident.amount / 100 if accident.kind is Kind.LOSSY else 0
            link.delay_ms = (accident.amount / 4, accident.amount) if accident.kind is Kind.SLOW else usual_ms

        def end() -> None:
            link.is_cut = False
            link.loss = 0
            link.delay_ms = usual_ms

        return begin, end

    def _restart(self, name: str) -> None:
        if name in self.plan.shape.router_names:
            self.cluster.start_router(name)
        else:
            self.judge.forget_feed(name)
            self.cluster.start_node(name, anew=True)

    def _pause(self, name: str) -> None:
        self.cluster.running[name].pause()
        self._away[name] = (self.world.now_ns, self.world.now_ns)

    def _resume(self, name: str) -> None:
        self.cluster.running[name].resume()
        self._away[name] = (self._away[name][0], self.world.now_ns)

    def _set_clock(self, name: str, skew_ms: int) -> None:
        self.cluster.running[name].clock.wall_skew_ms += skew_ms

    # --- who lives in it ---------------------------------------------------------------------------------------------

    async def _live(self, user: UserPlan) -> None:
        asker = await self._askers[user.application]
        for phase in user.phases:
            await self._sleep_until(phase.begin_ms)
            last = phase is user.phases[-1] and user.stays
            while last or self._now_ms < phase.end_ms:
                next_ms = self._now_ms + user.interval_ms
                await self._beat(asker, user)
                await self._sleep_until(next_ms if last else min(next_ms, phase.end_ms))
            if phase.signs_off:
                await self._sign_off(asker, user)

    async def _beat(self, asker: Asker, user: UserPlan) -> None:
        began_ns = self.judge.beat_begins(user.user_id)
        error = await _error_of(asker.heartbeat(user.user_id))
        self.judge.beat_ends(user.user_id, began_ns, acknowledged=error is None)
        self._note(f"{user.application}: {user.user_id} beat from {began_ns / 1e9:.3f}", error, began_ns)

    async def _sign_off(self, asker: Asker, user: UserPlan) -> None:
        self.judge.sign_off_begins(user.user_id)
        began_ns = self.world.now_ns
        error = await _error_of(asker.offline(user.user_id))
        self.judge.sign_off_ends(user.user_id, acknowledged=error is None)
        self._note(f"{user.application}: {user.user_id} signed off from {began_ns / 1e9:.3f}", error, began_ns)

    def _note(self, what: str, error: Exception | None, began_ns: int) -> None:
        self._digest.update(f"{self.world.now_ns} {what}".encode())
        if error is None:
            self._say(what)
        else:
            self._say(f"{what}, and failed: {error!r}")
            self.judge.failed(what, began_ns, error)

    async def _ask(self, name: str) -> None:
        asker = await self._askers[name]
        ids = [user.user_id for user in self.plan.users]
        while True:
            asked_ns = self.world.now_ns
            try:
                answers = await asker.status(ids)
            except (Error, TimeoutError) as error:
                self._say(f"{name}: a question failed: {error!r}")
                self.judge.failed(name, asked_ns, error)
            else:
                self._digest.update(f"{self.world.now_ns} {name} {answers}".encode())
                for user_id, online in zip(ids, answers, strict=True):
                    self._answered(name, user_id, asked_ns, online)
            await asyncio.sleep(self.world.random.uniform(*ASK_MS) / 1000)

    def _answered(self, name: str, user_id: int, asked_ns: int, online: bool | None) -> None:
        self.answers += 1
        self.judge.answered(name, user_id, asked_ns, online)
        if self._shown.get((name, user_id), online) is not online:
            self._say(f"{name}: {user_id} is {online} (asked at {asked_ns / 1e9:.3f})")
        self._shown[name, user_id] = online

    async def _follow(self, node: str) -> None:
        client = self.cluster.client_of(self.cluster.auditor, node)
        async for change in client.follow(on_gap="resync"):
            self.events += 1
            self._say(f"feed of {node}: {change.id} is {change.online} by {change.reason}")
            self._digest.update(f"{self.world.now_ns} {node} {change.id} {change.online} {change.reason}".encode())
            self.judge.told(node, change, self._away_ns(node))

    # --- the end -----------------------------------------------------------------------------------------------------

    def _look_at_the_end(self) -> None:
        auditor = self.cluster.auditor
        stays = {user.user_id: user.stays for user in self.plan.users}
        for node in self.plan.shape.node_names:
            own = [user_id for user_id in stays if node in self.cluster.owners_of(user_id)]
            statuses = self.world.result_of(auditor, self.cluster.client_of(auditor, node).status(own))
            for user_id, online in statuses.items():
                assert isinstance(user_id, int)
                self.judge.holds_at_the_end(node, user_id, online, is_online=stays[user_id])
        for name, process in self.cluster.running.items():
            self._look_for_leftovers(name, process)

    def _look_for_leftovers(self, name: str, process: Process) -> None:
        tasks = len(asyncio.all_tasks(process.loop))
        if tasks > TASKS_MAX and name != AUDITOR:
            self.judge.blame(f"{name} has {tasks} tasks at the end")
        for end in process.ends:
            if len(end.unread) > 64 * 1024:
                self.judge.blame(f"{name} does not read: {len(end.unread)} bytes from {end.peer.process.name}")

    # --- small things ------------------------------------------------------------------------------------------------

    @property
    def _now_ms(self) -> int:
        return self.world.now_ns // NS_PER_MS

    def _violated(self) -> bool:
        return bool(self.judge.violations or self.world.failures)

    async def _sleep_until(self, moment_ms: int) -> None:
        await asyncio.sleep(max(0, moment_ms - self._now_ms) / 1000)

    def _away_ns(self, name: str) -> int:
        paused_ns, resumed_ns = self._away.get(name, (0, -JUST_RESUMED_MS * NS_PER_MS))
        is_back_long = self.world.now_ns - resumed_ns >= JUST_RESUMED_MS * NS_PER_MS
        return 0 if is_back_long else self.world.now_ns - paused_ns

    def _say(self, what: str) -> None:
        self.tell(f"{self.world.now_ns / 1e9:8.3f} {what}")


def play(plan: Plan, *, tell: Callable[[str], None] | None = None, strict: bool = False) -> Outcome:
    """Play a plan.

    Args:
        tell: is told the story, line by line.
        strict: look at what is known not to hold, too.
    """
    with TemporaryDirectory() as folder, structlog.testing.capture_logs() as log, World(plan.seed) as world:
        cluster = Cluster(world, plan.shape, Path(folder))
        judge = Judge(plan.shape, lambda: world.now_ns, copy_age_ms=copy_age_ms(plan), may_be_lost=plan.storm, strict=strict)
        story = Story(plan, world, cluster, judge, tell or _nobody)
        story.play()
        violations = [*judge.violations, *world.failures]
        violations += [f"a log says: {entry}" for entry in log if entry["log_level"] in _FAILING]
        return Outcome(violations, story._digest.hexdigest(), story.answers, story.events)


async def _error_of(work: Awaitable[None]) -> Exception | None:
    try:
        await work
    except (Error, TimeoutError) as error:
        return error
    return None


def _nobody(_line: str) -> None:
    """Nobody listens."""

"""A cluster of scripted members in a simulated world, and a fan-out over them.

A scripted member speaks the protocol through a `ServerSession`, keeps who is online in a set, and writes down
what it is asked. `script[method]` replaces its answer: it may raise an `Error`, or return `SILENCE` to give no answer.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, Final, Self, TypeAlias, cast

from presencedb.client.cluster.dialling import Dialling
from presencedb.client.cluster.fanout import Fanout
from presencedb.client.cluster.member import MemberConnection
from presencedb.client.dial import MakeSocket
from presencedb.client.settings import ClientSettings
from presencedb.client.targets import Greeting
from presencedb.client.url import Address, TcpAddress
from presencedb.errors import Error
from presencedb.ids import Hasher, Id, IdBatch
from presencedb.limits import READ_BUFFER_BYTES
from presencedb.placement import ALL_SLOTS, Member, SlotSet, Topology
from presencedb.protocol.greeting import greeting
from presencedb.protocol.messages import Request
from presencedb.protocol.params import Options
from presencedb.protocol.session import ServerSession
from tests.simulation.network import SimulatedSocket
from tests.simulation.process import Process
from tests.simulation.world import World

SEED: Final = 7
SILENCE: Final = object()
SEEN_MS: Final = 1_700_000_000_123
NAMES: Final = ("n1", "n2", "n3")

Script: TypeAlias = Callable[[Request], Any]


def topology_of(names: Iterable[str] = NAMES, *, replicas: int = 2, epoch: int = 1) -> Topology:
    """A topology of members whose address is their name."""
    return Topology(epoch, SEED, replicas, tuple(Member(name, f"{name}:7411") for name in names))


class Peer(asyncio.BufferedProtocol):
    """A member's end of one connection. Each frame is one request, so that what came is written down as it came."""

    def __init__(self, member: ScriptedMember) -> None:
        self.session = ServerSession()
        self._member = member
        self._buffer = memoryview(bytearray(READ_BUFFER_BYTES))
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.session.receive_data(self._buffer[:nbytes])
        while (request := self.session.next_request()) is not None:
            self._member.serve(self, request)

    def answer(self, request: Request, script: Script) -> bool:
        """Answer a request; returns whether there was an answer."""
        try:
            result = script(request)
        except Error as error:
            self.session.fail(request, error)
        else:
            if result is SILENCE:
                return False
            self.session.reply(request, result)
        self._transport.write(self.session.data_to_send())
        return True


class ScriptedMember:
    """One member."""

    def __init__(self, world: World, name: str, topology: Topology) -> None:
        self.name = name
        self.topology = topology
        self.epoch = topology.epoch
        self.synced: SlotSet = ALL_SLOTS
        self.online: set[Id] = set()
        self.script: dict[str, Script] = {}
        self.requests: list[Request] = []
        self.held: list[tuple[Peer, Request]] = []
        """What a script gave no answer to."""
        self.process = world.process(name)
        world.network.listen(self.process, self._accept)

    def asked(self, method: str) -> list[Request]:
        """What came for a method, in order."""
        return [request for request in self.requests if request.command.name == method]

    def ids_asked(self, method: str) -> list[Id]:
        """The ids in it."""
        return [user_id for request in self.asked(method) for user_id in request.ids]

    def answer_held(self) -> None:
        """Answer what was left without an answer, as the member would by itself."""
        held, self.held = self.held, []

        def answer() -> None:
            for peer, request in held:
                peer.answer(request, self.usual)

        self.process.do(answer)

    def serve(self, peer: Peer, request: Request) -> None:
        """Take a request."""
        self.requests.append(request)
        if not peer.answer(request, self.script.get(request.command.name, self.usual)):
            self.held.append((peer, request))

    def usual(self, request: Request) -> Any:
        """What a node would answer."""
        ids = list(request.ids)
        match request.command.name:
            case "hello":
                return greeting(node=self.name, run="1", ttl_ms=30_000, tick_ms=100, retention="online")
            case "slots":
                return {"epoch": self.epoch, "run": "1", "synced": self.synced.to_wire()}
            case "topology":
                return self.topology.to_wire()
            case "heartbeat":
                marks = bytearray()
                for user_id in ids:
                    marks.append(user_id not in self.online)
                    self.online.add(user_id)
                is_for_each = request.options.each and not request.options.age_ms and not request.options.missed
                return bytes(marks) if is_for_each else sum(marks)
            case "offline":
                went_offline = len(set(ids) & self.online)
                self.online.difference_update(ids)
                return went_offline
            case "status":
                return [user_id in self.online for user_id in ids]
            case "last_seen":
                return [SEEN_MS if user_id in self.online else None for user_id in ids]
            case "count":
                place = Hasher(SEED).place
                return sum(place(user_id).slot in set(request.options.slots or ()) for user_id in self.online)
            case "info":
                return {"node": self.name}
        return "pong"

    def _accept(self, sock: SimulatedSocket) -> None:
        sock.attach(self.process.loop, Peer(self))


class Bed:
    """Members, and an observer that asks them.

    Attributes:
        world: where they are; to be left with `with`.
        topology: by which the observer began.
        members: by name.
        fanout: of the observer.
    """

    def __init__(self, seed: int = 1, *, names: Iterable[str] = NAMES, replicas: int = 2, meet: bool = True) -> None:
        self.world = World(seed)
        self.topology = topology_of(names, replicas=replicas)
        self.members = {name: ScriptedMember(self.world, name, self.topology) for name in names}
        self.observer = self.world.process("observer")
        self.fanout = self.world.result_of(self.observer, self._begin(meet))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert not self.world.failures
        self.world.__exit__(None, None, None)

    def add(self, name: str, topology: Topology) -> ScriptedMember:
        """One member more, or one anew."""
        self.members[name] = ScriptedMember(self.world, name, topology)
        return self.members[name]

    def connection(self, name: str) -> MemberConnection:
        """What the observer has of a member."""
        return next(one for one in self.fanout.view.members if one.member.id == name)

    def owners(self, user_id: Id, topology: Topology | None = None) -> list[str]:
        """The names of the owners of a user, the one asked first at the front."""
        table = (topology or self.topology).owners
        return [table.members[index].id for index in table.of_slot(Hasher(SEED).place(user_id).slot)]

    def users_of(self, *owners: str, count: int = 5) -> list[Id]:
        """Users with exactly these owners in this order."""
        found: list[Id] = []
        user_id = 0
        while len(found) < count:
            if self.owners(user_id) == list(owners):
                found.append(user_id)
            user_id += 1
        return found

    def begin(
        self, method: str, ids: Iterable[Id] = (), *, cursor: str | None = None, limit: int = 100, **options: Any
    ) -> asyncio.Task[Any]:
        """Ask; what comes of it."""

        async def ask() -> Any:
            answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self.fanout.ask(method, IdBatch(list(ids)), Options(**options), answer, cursor=cursor, limit=limit)
            return await answer

        return self.observer.start(ask())

    def begin_all(self, *requests: tuple[str, Iterable[Id], object]) -> list[asyncio.Future[Any]]:
        """Ask several in one turn: method, ids, and the origin of each."""

        async def ask() -> list[asyncio.Future[Any]]:
            answers = []
            for method, ids, origin in requests:
                answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
                self.fanout.ask(method, IdBatch(list(ids)), Options(), answer, origin=origin)
                answers.append(answer)
            return answers

        return self.world.result_of(self.observer, ask())

    def ask(self, method: str, ids: Iterable[Id] = (), **rest: Any) -> Any:
        """Ask, and wait for the answer."""
        task = self.begin(method, ids, **rest)
        self.world.run_until(task.done, 30)
        return task.result()

    def statuses(self, ids: Iterable[Id]) -> list[bool | None]:
        """The statuses of users."""
        return [(False, True, None)[byte] for byte in self.ask("status", ids)]

    def set_online(self, ids: Iterable[Id]) -> None:
        """Let each owner know that users are online, as if they had beaten."""
        for user_id in ids:
            for name in self.owners(user_id):
                self.members[name].online.add(user_id)

    def forget_requests(self) -> None:
        """Begin to write down anew."""
        for member in self.members.values():
            member.requests.clear()

    def run_now(self, step: Callable[[], object]) -> None:
        """Do something in the process of the observer."""

        async def do() -> None:
            step()

        self.world.result_of(self.observer, do())

    async def _begin(self, meet: bool) -> Fanout:
        fanout = Fanout(self.topology, dialling(self.world, self.observer), Random(1))
        if meet:
            await fanout.tried()
        return fanout


def dialling(world: World, process: Process) -> Dialling:
    """How a process of the world connects to members."""

    def socket_maker(address: Address) -> MakeSocket:
        assert isinstance(address, TcpAddress)
        return lambda: world.network.connect(process, address.host)

    settings: ClientSettings[MakeSocket] = ClientSettings(
        targets=[], greeting=Greeting("test"), connect_timeout_s=2, timeout_s=5, random=Random(1)
    )
    return Dialling(settings, socket_maker)


def times_of(answer: array[int]) -> list[int]:
    """An answer of `last_seen` to compare."""
    assert answer.typecode == "q"
    return answer.tolist()

"""The simulated network: streams of bytes with delays, links that are cut, ends that vanish.

What TCP promises holds: bytes arrive in order or not at all. A *cut* link carries nothing and loses nothing: what was sent
waits, as in a kernel that sends again, until the link is mended or one end is gone. An end whose process was killed resets
its connections. A process that is paused has a kernel that goes on: connections to it are accepted, and bytes wait for it.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World

WINDOW_BYTES: Final = 256 * 1024
"""What is under way in one direction, or waits to be read."""
READ_BYTES: Final = 64 * 1024
NS_PER_MS: Final = 1_000_000
CONNECT_AGAIN_NS: Final = 200 * NS_PER_MS
"""A connection that is asked for over a cut link is asked for again; a portion that was lost is sent again."""
AGAIN_NS_MAX: Final = 4 * CONNECT_AGAIN_NS


class Link:
    """The way between two processes, in both directions."""

    def __init__(self, world: World) -> None:
        self.is_cut = False
        self.delay_ms = (0.05, 0.5)
        """The range from which the delay of each portion is drawn."""
        self.loss = 0.0
        """The part of all portions that are lost, and sent again."""
        self._world = world

    def draw_delay_ns(self) -> int:
        """How long the next portion takes, sent again as often as it is lost."""
        low, high = self.delay_ms
        delay_ns = int(self._world.random.uniform(low, high) * NS_PER_MS)
        again_ns = CONNECT_AGAIN_NS
        while self.loss and self._world.random.random() < self.loss and again_ns <= AGAIN_NS_MAX:
            delay_ns += again_ns
            again_ns *= 2
        return delay_ns


class Network:
    """Who listens where, and the links between processes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._links: dict[frozenset[str], Link] = {}
        self._listeners: dict[str, tuple[Process, Callable[[SimulatedSocket], None]]] = {}

    def link(self, first: Process, second: Process) -> Link:
        """The link between two processes."""
        return self.between(first.name, second.name)

    def between(self, first: str, second: str) -> Link:
        """The link between the processes of two names, now and after they are started again."""
        names = frozenset((first, second))
        if names not in self._links:
            self._links[names] = Link(self._world)
        return self._links[names]

    @property
    def links(self) -> list[Link]:
        """Those that were used or set so far."""
        return list(self._links.values())

    def listen(self, process: Process, accept: Callable[[SimulatedSocket], None]) -> None:
        """Let a process accept what is connected to its name."""
        self._listeners[process.name] = (process, accept)

    async def connect(self, process: Process, name: str) -> socket.socket:
        """A socket that is connected from one process to the one of that name.

        Raises:
            ConnectionRefusedError: nobody listens there.
        """
        answered: asyncio.Future[SimulatedSocket] = process.loop.create_future()
        self._ask(process, name, answered)
        return cast("socket.socket", await answered)

    def cut_off(self, process: Process) -> None:
        """A process is gone: so are its listener and its ends of connections."""
        if self._listeners.get(process.name, (None,))[0] is process:
            del self._listeners[process.name]
        for end in list(process.ends):
            end.vanish()

    def _ask(self, process: Process, name: str, answered: asyncio.Future[SimulatedSocket]) -> None:
        """Send a request for a connection until it gets through."""
        if answered.done() or not process.alive:
            return
        link = self.between(process.name, name)
        if link.is_cut:
            self._world.after(CONNECT_AGAIN_NS, lambda: self._ask(process, name, answered))
            return
        self._world.after(link.draw_delay_ns(), lambda: self._arrive(process, name, answered))

    def _arrive(self, process: Process, name: str, answered: asyncio.Future[SimulatedSocket]) -> None:
        link = self.between(process.name, name)
        if link.is_cut:
            self._world.after(CONNECT_AGAIN_NS, lambda: self._ask(process, name, answered))
            return
        found = self._listeners.get(name)
        ours: SimulatedSocket | None = None
        if found is not None:
            listener, accept = found
            ours, theirs = connected_pair(self._world, link, process, listener)
            listener.do(lambda: accept(theirs))
        self._world.after(link.draw_delay_ns(), lambda: process.do(lambda: _tell(answered, name, ours)))


def _tell(answered: asyncio.Future[SimulatedSocket], name: str, ours: SimulatedSocket | None) -> None:
    if answered.done():
        if ours is not None:
            ours.close()
    elif ours is None:
        answered.set_exception(ConnectionRefusedError(111, "Connection refused", name))
    else:
        answered.set_result(ours)


def connected_pair(world: World, link: Link, first: Process, second: Process) -> tuple[SimulatedSocket, SimulatedSocket]:
    """Both ends of a new connection."""
    ours, theirs = SimulatedSocket(world, link, first), SimulatedSocket(world, link, second)
    ours.peer, theirs.peer = theirs, ours
    return ours, theirs


class SimulatedSocket:
    """One end of a connection: what the kernel of its machine keeps of it."""

    family = socket.AF_UNSPEC
    peer: SimulatedSocket

    def __init__(self, world: World, link: Link, process: Process) -> None:
        self.unread = bytearray()
        self.ended = False
        """The peer sends no more."""
        self.reset = False
        self.under_way = 0
        """Bytes sent that the peer's process has not read."""
        self.process = process
        self._world = world
        self._link = link
        self._transport: SimulatedTransport | None = None
        self._queue: deque[tuple[int, Callable[[], None]]] = deque()
        self._carrying = False
        self._gone = False
        process.ends[self] = None

    # --- what asyncio and the code under test call -----------------------------------------------------------------

    def attach(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.BufferedProtocol) -> SimulatedTransport:
        """Begin to read and write."""
        self._transport = SimulatedTransport(loop, self, protocol)
        return self._transport

    def setblocking(self, blocking: bool) -> None:
        """No simulated socket ever blocks."""

    def close(self) -> None:
        """Let go of a socket; where there is a transport, that does it."""
        if self._transport is None:
            self.vanish()

    # --- what the transport does -----------------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """Bytes that may be sent now."""
        return max(0, WINDOW_BYTES - self.under_way)

    def send(self, data: bytes) -> None:
        """Put bytes on their way."""
        self.under_way += len(data)
        self._put(lambda: self.peer.take(data))

    def send_end(self) -> None:
        """Say that no more comes."""
        self._put(self.peer.take_end)

    def was_read(self, count: int) -> None:
        """The process has read so many bytes: the peer may send more."""
        peer = self.peer
        peer.under_way -= count
        peer.process.do(peer.wake)

    def finish(self) -> None:
        """This end is closed in order: the peer learns it in its turn."""
        self._gone = True
        self.process.ends.pop(self, None)
        self._put(self.peer.take_end)

    def vanish(self) -> None:
        """This end is gone: the peer learns it in its turn by a reset."""
        self._gone = True
        self.process.ends.pop(self, None)
        self._put(self.peer.take_reset)

    # --- what the network does -------------------------------------------------------------------------------------

    def take(self, data: bytes) -> None:
        """Bytes have arrived."""
        if self._gone:
            self._put(self.peer.take_reset)
            return
        self.unread += data
        self.process.do(self.wake)

    def take_end(self) -> None:
        """The peer sends no more."""
        self.ended = True
        self.process.do(self.wake)

    def take_reset(self) -> None:
        """The peer is gone."""
        self.reset = True
        self.process.do(self.wake)

    def wake(self) -> None:
        """Let the process read, write, or learn of the end."""
        if self._transport is not None:
            self._transport.wake()

    def _put(self, arrive: Callable[[], None]) -> None:
        self._queue.append((self._world.now_ns + self._link.draw_delay_ns(), arrive))
        self._carry()

    def _carry(self) -> None:
        """Bring what is on its way, in order, no earlier than it is due; while the link is cut look again later."""
        if self._carrying or not self._queue:
            return
        self._carrying = True
        due_ns, _ = self._queue[0]
        self._world.after(max(due_ns - self._world.now_ns, 0), self._bring)

    def _bring(self) -> None:
        self._carrying = False
        if self._link.is_cut:
            self._carrying = True
            self._world.after(CONNECT_AGAIN_NS // 10, self._bring)
            return
        _, arrive = self._queue.popleft()
        arrive()
        self._carry()


class SimulatedTransport(asyncio.Transport):
    """What a protocol writes to and is fed from."""

    def __init__(self, loop: asyncio.AbstractEventLoop, end: SimulatedSocket, protocol: asyncio.BufferedProtocol) -> None:
        super().__init__()
        self._loop = loop
        self._end = end
        self._protocol = protocol
        self._waiting = bytearray()
        self._high, self._low = 64 * 1024, 16 * 1024
        self._pressed = False
        self._reading = True
        self._closing = False
        self._lost = False
        self._told_end = False
        self._says_end = False
        self._said_end = False
        loop.call_soon(protocol.connection_made, self)
        loop.call_soon(self.wake)

    def wake(self) -> None:
        """Do what can be done now: read, write, learn that the peer is gone."""
        if self._lost:
            return
        if self._end.reset:
            self._lose(ConnectionResetError(104, "Connection reset by peer"))
            return
        self._pump()
        if self._lost or self._closing or not self._reading:
            return
        end = self._end
        if end.unread:
            data = bytes(end.unread[:READ_BYTES])
            buffer = cast("memoryview", self._protocol.get_buffer(len(data)))
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            del end.unread[:count]
            end.was_read(count)
            self._loop.call_soon(self.wake)
            self._protocol.buffer_updated(count)
        elif end.ended and not self._told_end:
            self._told_end = True
            if not self._protocol.eof_received():
                self.close()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "socket":
            return self._end
        return (self._end.peer.process.name, 0) if name == "peername" else default

    def is_closing(self) -> bool:
        return self._closing or self._lost

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._lost or self._says_end:
            return
        self._waiting += data
        self._pump()
        if not self._pressed and len(self._waiting) > self._high:
            self._pressed = True
            self._protocol.pause_writing()

    def write_eof(self) -> None:
        self._says_end = True
        self._pump()

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return len(self._waiting)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 64 * 1024 if high is None else high
        self._low = self._high // 4 if low is None else low

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._loop.call_soon(self.wake)

    def close(self) -> None:
        self._closing = True
        self._pump()

    def abort(self) -> None:
        self._waiting.clear()
        self._closing = True
        self._loop.call_soon(self._lose, None)

    def _pump(self) -> None:
        room = self._end.room
        if self._waiting and room:
            data = bytes(self._waiting[:room])
            del self._waiting[: len(data)]
            self._end.send(data)
        if self._pressed and len(self._waiting) <= self._low:
            self._pressed = False
            self._loop.call_soon(self._protocol.resume_writing)
        if self._waiting:
            return
        if self._closing:
            self._loop.call_soon(self._lose, None)
        elif self._says_end and not self._said_end:
            self._said_end = True
            self._end.send_end()

    def _lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = self._closing = True
        if error is None and not self._end.unread and not self._waiting:
            self._end.finish()
        else:
            self._end.vanish()
        self._protocol.connection_lost(error)

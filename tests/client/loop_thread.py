"""Servers that live on an event loop, run in a thread of their own, for tests that block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

from presencedb.node.node import Node
from tests.client.fake_server import FakeServer, Peer
from tests.client.running import running_node
from tests.support.async_tests import new_event_loop
from tests.support.waiting import wait_until

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="servers", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end there."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a plain function there."""

        async def call() -> T:
            return function(*arguments)

        return self.run(call())


class FakeServerThread:
    """A scripted server; what `fake` says of requests and connections may be read from any thread."""

    def __init__(self, loop: LoopThread, fake: FakeServer) -> None:
        self.loop = loop
        self.fake = fake

    def stop(self) -> None:
        """Listen no more, and cut every connection."""
        self.loop.run(self.fake.stop())

    def start(self) -> None:
        """Listen again."""
        self.loop.run(self.fake.start())

    def cut(self) -> None:
        """Reset every connection."""
        self.loop.call(self.fake.cut)
        wait_until(lambda: not self.fake.peers)

    def teller(self) -> Peer:
        """The one connection that follows or watches."""
        (peer,) = wait_until(self._tellers, what="a connection that follows or watches")
        return peer

    def tell(self, cursor: str, *events: tuple[Any, bool | None, int, str]) -> None:
        """Have it tell changes, once it was asked for them."""
        self.loop.call(self.teller().tell, cursor, *events)

    def _tellers(self) -> list[Peer]:
        asked = {"follow", "watch"}
        return [peer for peer in self.fake.peers if any(request.command.name in asked for request in peer.seen)]


@contextmanager
def fake_server(**settings: Any) -> Iterator[FakeServerThread]:
    """A scripted server in a thread."""
    with LoopThread() as loop:
        server = FakeServerThread(loop, FakeServer(**settings))
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def node_in_thread(**settings: Any) -> Iterator[Node]:
    """A node in a thread."""
    with LoopThread() as loop:
        running = running_node(**settings)
        node = loop.run(running.__aenter__())
        try:
            yield node
        finally:
            loop.run(running.__aexit__(None, None, None))

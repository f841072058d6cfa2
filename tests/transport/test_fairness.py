"""However many connections flood a loop, who asks for little waits for a stated number of ids of others."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Final

import msgpack
import pytest

from presencedb.limits import IDS_PER_FRAME_MAX, LOOP_TURN_IDS_MAX, SMALL_INPUT_BYTES
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection
from tests.support.waiting import wait_until_async
from tests.transport.stub import TIMEOUT_MS, StubService, answer_name, served

TURN_IDS: Final = LOOP_TURN_IDS_MAX + IDS_PER_FRAME_MAX
"""A turn never does more: what all may spend, and the one frame that goes over it."""
OTHERS_IDS_MAX: Final = 2 * TURN_IDS
"""As docs/operations.md states it."""
FLOODERS: Final = 60
QUESTION: Final = msgpack.packb([0, 1, "ping", []])


class Counting:
    """A service that counts the ids it has served."""

    def __init__(self) -> None:
        self.ids = 0
        self.stub = StubService(self._serve)

    def has_served(self, id_count: int) -> bool:
        return self.ids == id_count

    def _serve(self, connection: Connection, request: Request) -> None:
        self.ids += len(request.ids)
        self.stub.requests.clear()
        answer_name(connection, request)


@contextlib.contextmanager
def sockets(address: tuple[str, int], count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(socket.create_connection(address)) for _ in range(count)]
        for sock in opened:
            sock.setblocking(False)
        yield opened


def fill(flooders: list[socket.socket], data: bytes) -> None:
    """Offer as much as each socket takes; what is cut in the middle of a frame is at its end for this test."""
    for sock in flooders:
        with contextlib.suppress(BlockingIOError):
            sock.send(data)


@pytest.mark.parametrize("frame_ids", [1, 1_000, 30_000])
async def test_a_question_waits_for_a_bounded_number_of_ids_of_others(frame_ids: int) -> None:
    frame = msgpack.packb([2, "heartbeat", [list(range(frame_ids))]])
    service = Counting()
    async with served(service.stub) as server:
        with sockets(server.address, FLOODERS + 1) as (modest, *flooders):
            loop = asyncio.get_running_loop()
            for sock in (modest, *flooders):
                await loop.sock_sendall(sock, QUESTION)
                await loop.sock_recv(sock, SMALL_INPUT_BYTES)
            data = frame * max(1, 100_000 // len(frame))
            fill(flooders, data)
            for _ in range(10):
                before = service.ids
                await loop.sock_sendall(modest, QUESTION)
                await loop.sock_recv(modest, SMALL_INPUT_BYTES)
                assert service.ids - before <= OTHERS_IDS_MAX
            assert server.hub.connection_count == FLOODERS + 1


async def test_a_turn_is_bounded_whatever_the_number_of_connections() -> None:
    frame = msgpack.packb([2, "heartbeat", [list(range(10_000))]])
    service = Counting()
    async with served(service.stub) as server:
        with sockets(server.address, FLOODERS) as flooders:
            await wait_until_async(lambda: server.hub.connection_count == FLOODERS)
            fill(flooders, frame * 5)
            turns = [service.ids]
            while turns[-1] < FLOODERS * 5 * 10_000:
                await asyncio.sleep(0)
                turns.append(service.ids)
            # Between two looks of this task lie parts of two turns.
            assert max(after - before for before, after in pairwise(turns)) <= OTHERS_IDS_MAX


async def test_who_sends_much_is_served_although_many_send_little() -> None:
    """Those who ask for little go first, and never use up the last step of the others."""
    service = Counting()
    little = msgpack.packb([2, "heartbeat", [list(range(4_000))]])
    assert len(little) < SMALL_INPUT_BYTES
    much = msgpack.packb([2, "heartbeat", [list(range(20_000))]]) + QUESTION
    async with served(service.stub) as server:
        with sockets(server.address, FLOODERS + 1) as (large, *small):
            await wait_until_async(lambda: server.hub.connection_count == FLOODERS + 1)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(large, much)
            answer = asyncio.ensure_future(loop.sock_recv(large, SMALL_INPUT_BYTES))
            turns = 0
            while not answer.done():
                fill(small, little)
                await asyncio.sleep(0)
                turns += 1
            assert turns < 50
            assert await server.hub.wait_until_quiet(TIMEOUT_MS)


async def test_nothing_is_left_over_of_a_flood() -> None:
    frame = msgpack.packb([2, "heartbeat", [list(range(5_000))]])
    service = Counting()
    async with served(service.stub) as server:
        with sockets(server.address, FLOODERS) as flooders:
            await wait_until_async(lambda: server.hub.connection_count == FLOODERS)
            for round_number in range(1, 4):
                fill(flooders, frame * 10)
                await wait_until_async(partial(service.has_served, round_number * FLOODERS * 50_000))
            assert await server.hub.wait_until_quiet(TIMEOUT_MS)

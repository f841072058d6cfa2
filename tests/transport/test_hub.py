"""What the connections of a loop share: when it is quiet, and how all are closed."""

from __future__ import annotations

import asyncio
import socket

import msgpack

from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection
from presencedb.transport.loop import loop_name, run
from tests.support.waiting import wait_until_async
from tests.support.wire import Wire
from tests.transport.stub import TIMEOUT_MS, StubService, served


async def test_everything_sent_is_read_before_it_is_quiet() -> None:
    """The promise behind the stall rule: what lies in the sockets is served before `wait_until_quiet` returns."""
    service = StubService()
    async with served(service) as server:
        sockets = [socket.create_connection(server.address) for _ in range(50)]
        for sock in sockets:
            sock.sendall(msgpack.packb([2, "heartbeat", [1]]) * 500)
        # Not one of them was accepted yet: the loop did not turn.
        assert server.hub.connections_total == 0
        assert await server.hub.wait_until_quiet(TIMEOUT_MS)
        assert service.served_count == 50 * 500
        for sock in sockets:
            sock.close()


async def test_it_is_not_quiet_while_clients_flood() -> None:
    service = StubService()
    async with served(service) as server, Wire(server.address) as client:
        frame = msgpack.packb([2, "heartbeat", [1]]) * 1000
        flooding = True

        async def flood() -> None:
            while flooding:
                client.send_bytes(frame)
                await asyncio.sleep(0)

        task = asyncio.create_task(flood())
        await wait_until_async(lambda: service.served_count > 1000)
        assert not await server.hub.wait_until_quiet(50)
        flooding = False
        await task


async def test_close_lets_answers_out() -> None:
    service = StubService(lambda connection, request: connection.reply(request, "x" * 100_000))
    async with served(service) as server, Wire(server.address) as client:
        for _ in range(200):
            client.send("ping")
        await wait_until_async(lambda: service.served_count > 0)
        closing = asyncio.create_task(server.hub.close(TIMEOUT_MS))
        answers = await client.read_to_end()
        await closing
        assert len(answers) == service.served_count
        assert all(len(answer.result) == 100_000 for answer in answers)


async def test_close_does_not_wait_for_ever() -> None:
    def answer_much(connection: Connection, request: Request) -> None:
        connection.reply(request, "x" * 10_000_000)

    service = StubService(answer_much)
    async with served(service) as server:
        with socket.create_connection(server.address) as deaf:
            deaf.sendall(msgpack.packb([0, 1, "ping", []]))
            await wait_until_async(lambda: service.served_count)
            await server.hub.close(100)
            assert server.hub.connection_count == 0


def test_each_kind_of_loop_can_be_had(event_loop_kind: str) -> None:
    async def name() -> str:
        return loop_name()

    assert run(name(), kind="uvloop" if event_loop_kind == "uvloop" else "asyncio") == event_loop_kind
    assert run(name()) == "uvloop"

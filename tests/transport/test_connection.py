"""A connection: answers in order, in few writes, with bounds on what one client can take."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final

import msgpack
import pytest

from presencedb.errors import BadRequest, Busy, Denied
from presencedb.limits import (
    FRAME_BYTES_MAX,
    MIB,
    REQUESTS_IN_FLIGHT_MAX,
    TURN_IDS_MAX,
    TURN_REQUESTS_MAX,
    WRITE_HIGH_WATER_BYTES,
)
from presencedb.protocol.codec import encode_notification
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection
from tests.support.msgpackrpc import RawConnection
from tests.support.waiting import wait_until_async
from tests.support.wire import Wire
from tests.transport.stub import TIMEOUT_MS, StubService, answer_name, served

PING: Final = msgpack.packb([0, 1, "ping", []])
LARGE_ANSWER: Final = "x" * (MIB // 2)


def answer_much(connection: Connection, request: Request) -> None:
    """Answer with half a mebibyte."""
    connection.reply(request, LARGE_ANSWER)


async def test_answers_come_in_the_order_of_the_requests() -> None:
    async with served(StubService()) as server, Wire(server.address) as client:
        msgids = [client.send(method) for method in ("ping", "count", "info") * 100]
        assert [await client.answer(msgid) for msgid in msgids] == ["ping", "count", "info"] * 100


async def test_any_cut_of_the_bytes_gives_the_same_answers() -> None:
    async with served(StubService()) as server, Wire(server.address) as client:
        data = b"".join(msgpack.packb([0, msgid, "ping", []]) for msgid in range(3))
        for byte in data:
            client.send_bytes(bytes([byte]))
            await asyncio.sleep(0)
        assert [await client.answer(msgid) for msgid in range(3)] == ["ping"] * 3


async def test_an_error_answers_its_own_request_only() -> None:
    def refuse_count(connection: Connection, request: Request) -> None:
        if request.command.name == "count":
            connection.fail(request, Denied("not you"))
        else:
            answer_name(connection, request)

    async with served(StubService(refuse_count)) as server, Wire(server.address) as client:
        with pytest.raises(Denied, match="not you"):
            await client.call("count")
        assert await client.call("ping") == "ping"


async def test_all_answers_of_a_turn_leave_in_one_write() -> None:
    async with served(StubService()) as server:
        with socket.create_connection(server.address) as sock:
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(sock, PING * TURN_REQUESTS_MAX)
            expected = len(msgpack.packb([1, 1, None, "ping"])) * TURN_REQUESTS_MAX
            assert len(await loop.sock_recv(sock, MIB)) == expected


async def test_a_half_closed_connection_gets_its_answers() -> None:
    async with served(StubService()) as server, Wire(server.address) as client:
        count = 10 * TURN_REQUESTS_MAX
        for _ in range(count):
            client.send("ping")
        client.half_close()
        assert [response.result for response in await client.read_to_end()] == ["ping"] * count


async def test_a_broken_frame_is_answered_and_ends_its_connection_only() -> None:
    service = StubService()
    async with served(service) as server, Wire(server.address) as other, Wire(server.address) as client:
        client.send_bytes(msgpack.packb([0, 0, "ping", []]) + msgpack.packb([0, 1, "ping"]) + PING)
        answers = await client.read_to_end()
        assert answers[0].result == "ping"
        assert isinstance(answers[1].error, BadRequest)
        assert len(answers) == 2
        assert await other.call("ping") == "ping"
        assert server.hub.protocol_errors == 1


async def test_a_frame_that_is_too_large_is_told_so_although_more_is_on_its_way() -> None:
    """A socket closed with input unread is reset, which fails who still sends; so the rest is read and thrown away."""
    frame = b"\x94\x00\x07\xa9heartbeat\x91\xdd\x00\xff\xff\xff" + b"\x00" * (3 * FRAME_BYTES_MAX)

    def send_all_then_read(address: tuple[str, int]) -> list[Any]:
        with RawConnection(address) as connection:
            connection.send(frame)
            return connection.receive_to_end()

    async with served(StubService()) as server:
        answers = await asyncio.to_thread(send_all_then_read, server.address)
        assert [(answer[1], answer[2][0]) for answer in answers] == [(7, "too_large")]


async def test_who_was_refused_and_stays_is_cut() -> None:
    service = StubService()
    async with served(service) as server:
        with socket.create_connection(server.address) as stubborn:
            stubborn.sendall(b"\xc1")
            await wait_until_async(lambda: service.closed_connections)


async def test_nothing_is_pushed_to_who_was_refused() -> None:
    service = StubService()
    async with served(service) as server, Wire(server.address) as client:
        await client.call("follow")
        client.send_bytes(b"\xc1")
        assert await client.read_to_end() == []
        connection, _ = service.requests[0]
        assert not connection.room
        connection.push(b"too late")
        assert await server.hub.wait_until_quiet(TIMEOUT_MS)
        await wait_until_async(lambda: service.closed_connections)


@pytest.mark.parametrize(
    "junk",
    [b"\xc1", b"GETS / HTTP/1.1\r\n\r\n", b"*1\r\n$4\r\nPING\r\n", b"\x00" * 10, b"\xdd\xff\xff\xff\xff" + b"\x93" * 9],
)
async def test_junk_ends_the_connection(junk: bytes) -> None:
    service = StubService()
    async with served(service) as server, Wire(server.address) as client:
        client.send_bytes(junk)
        client.half_close()
        assert await client.read_to_end() == []
        assert service.served_count == 0


async def test_what_the_kernel_cannot_take_is_not_answered_further() -> None:
    """A client that asks and asks and never reads holds a few answers in memory, not ten thousand."""
    service = StubService(answer_much)
    async with served(service) as server:
        with socket.create_connection(server.address) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            sending = loop.create_task(loop.sock_sendall(sock, PING * 10_000))
            await wait_until_async(lambda: service.served_count > 0)
            assert await server.hub.wait_until_quiet(TIMEOUT_MS)
            # Beside what fills the water marks: what the socket of this side of the kernel takes.
            kernel_bytes = 8 * MIB
            assert service.served_count * len(LARGE_ANSWER) < 3 * WRITE_HIGH_WATER_BYTES + kernel_bytes
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


async def test_after_the_pressure_everything_is_answered() -> None:
    service = StubService(answer_much)
    async with served(service) as server, Wire(server.address) as client:
        msgids = [client.send("ping") for _ in range(200)]
        await wait_until_async(lambda: service.served_count > 0)
        await server.hub.wait_until_quiet(TIMEOUT_MS)
        assert service.served_count < 200
        for msgid in msgids:
            assert await client.answer(msgid) == LARGE_ANSWER


async def test_unread_input_stays_in_the_kernel_under_pressure() -> None:
    service = StubService(answer_much)
    async with served(service) as server:
        with socket.create_connection(server.address) as sock:
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(sock, PING * 100)
            await wait_until_async(lambda: service.served_count > 0)
            await server.hub.wait_until_quiet(TIMEOUT_MS)
            reads = server.hub.reads
            await loop.sock_sendall(sock, PING * 100)
            assert await server.hub.wait_until_quiet(TIMEOUT_MS)
            assert server.hub.reads == reads


async def test_one_busy_client_has_its_share_of_a_turn_only() -> None:
    """While one client's thousands of requests are worked off, another's single one is answered early on."""
    service = StubService()
    async with served(service) as server, Wire(server.address) as busy, Wire(server.address) as modest:
        await busy.call("ping")
        await modest.call("ping")
        service.requests.clear()
        for _ in range(100 * TURN_REQUESTS_MAX):
            busy.send("count")
        modest.send("ping")
        last = busy.send("info")
        await busy.answer(last)
        names = [request.command.name for _, request in service.requests]
        assert names.index("ping") < 50 * TURN_REQUESTS_MAX


async def test_large_batches_count_by_their_ids() -> None:
    service = StubService()
    async with served(service) as server, Wire(server.address) as busy, Wire(server.address) as modest:
        await busy.call("ping")
        await modest.call("ping")
        service.requests.clear()
        ids = list(range(TURN_IDS_MAX))
        frame = msgpack.packb([2, "heartbeat", [ids]])
        busy.send_bytes(frame * 20 + msgpack.packb([0, 500, "info", []]))
        modest.send("ping")
        await busy.answer(500)
        names = [request.command.name for _, request in service.requests]
        assert names.index("ping") < 20


async def test_thousands_of_refusals_give_way_too() -> None:
    service = StubService()
    async with served(service) as server, Wire(server.address) as busy, Wire(server.address) as modest:
        await modest.call("ping")
        busy.send_bytes(msgpack.packb([2, "ping", []]) * 20_000 + msgpack.packb([0, 7, "info", []]))
        await modest.call("ping")
        assert await busy.answer(7) == "info"
        assert server.hub.bad_notifications == 20_000


async def test_a_service_is_told_when_there_is_room_again() -> None:
    frame = encode_notification("presence", ["x" * MIB])

    def push_until_full(connection: Connection) -> None:
        while connection.room and len(pushed) < 50:
            pushed.append(None)
            connection.push(frame)

    def start(connection: Connection, request: Request) -> None:
        connection.reply(request, "ok")
        push_until_full(connection)

    pushed: list[None] = []
    service = StubService(start)
    service.on_room = push_until_full
    async with served(service) as server, Wire(server.address) as client:
        client.send("follow")
        await wait_until_async(lambda: pushed)
        await server.hub.wait_until_quiet(TIMEOUT_MS)
        assert len(pushed) < 50
        for _ in range(50):
            notification = await client.next_notification()
            assert len(notification.params[0]) == MIB
        assert service.has_room_calls


async def test_a_client_that_vanishes_is_forgotten() -> None:
    service = StubService()
    async with served(service) as server:
        async with Wire(server.address) as client:
            await client.call("ping")
            assert server.hub.connection_count == 1
        await wait_until_async(lambda: service.closed_connections)
        assert server.hub.connection_count == 0
        assert server.hub.connections_total == 1


async def test_answers_to_a_client_that_is_gone_go_nowhere() -> None:
    kept: list[tuple[Connection, Request]] = []
    service = StubService(lambda connection, request: kept.append((connection, request)))
    async with served(service) as server:
        async with Wire(server.address) as client:
            client.send("ping")
            client.send("ping")
            await wait_until_async(lambda: len(kept) == 2)
        (connection, first), (_, second) = kept
        connection.reply(first, "late")
        connection.reply(second, "late")
        await wait_until_async(lambda: service.closed_connections)
        connection.push(b"later")
        assert await server.hub.wait_until_quiet(TIMEOUT_MS)


async def test_late_answers_keep_the_order_and_free_the_rest() -> None:
    """A service may answer later, in any order; a session full of waiting requests goes on when they are answered."""
    kept: list[tuple[Connection, Request]] = []
    service = StubService(lambda connection, request: kept.append((connection, request)))
    request_count = 5000

    async def read_all(client: Wire, msgids: list[int]) -> list[Any]:
        outcomes: list[Any] = []
        for msgid in msgids:
            try:
                outcomes.append(await client.answer(msgid))
            except Busy:
                outcomes.append(None)
        return outcomes

    async with served(service) as server, Wire(server.address) as client:
        msgids = [client.send("ping") for _ in range(request_count)]
        reading = asyncio.create_task(read_all(client, msgids))
        while not reading.done():
            await server.hub.wait_until_quiet(TIMEOUT_MS)
            for connection, request in reversed(kept):
                connection.reply(request, request.msgid)
            kept.clear()
        outcomes = await reading
        served_msgids = [outcome for outcome in outcomes if outcome is not None]
        assert len(outcomes) == request_count
        assert served_msgids == [msgid for msgid in range(request_count) if outcomes[msgid] is not None]
        assert len(served_msgids) >= REQUESTS_IN_FLIGHT_MAX


async def test_peers_have_names() -> None:
    service = StubService()
    async with served(service) as server, Wire(server.address) as client:
        await client.call("ping")
        connection, _ = service.requests[0]
        assert connection.peer.startswith("127.0.0.1:")


async def test_a_connection_that_is_held_is_read_no_further_until_it_is_released() -> None:
    held: list[Connection] = []

    def hold(connection: Connection, request: Request) -> None:
        connection.reply(request, request.command.name)
        if request.command.name == "heartbeat":
            connection.hold()
            held.append(connection)

    service = StubService(hold)
    ids = list(range(1_000))
    flood = msgpack.packb([2, "heartbeat", [ids, {"age_ms": 1}]]) * 5_000
    async with served(service) as server, Wire(server.address) as client, Wire(server.address) as other:
        client.send_bytes(flood + msgpack.packb([0, 500, "info", []]))
        for count in range(1, 6):
            await wait_until_async(lambda count=count: len(held) == count)  # type: ignore[misc]
            await server.hub.wait_until_quiet(TIMEOUT_MS)
            reads = server.hub.reads
            assert await other.call("ping") == "ping"
            assert await other.call("ping") == "ping"
            assert len(held) == count
            assert server.hub.reads - reads <= 4
            held[-1].release()
        service._serve = answer_name
        held[-1].release()
        assert await client.answer(500) == "info"
        assert service.served_count == 5_000 + 1 + 10


async def test_what_was_held_is_served_although_its_client_has_said_goodbye() -> None:
    held: list[Connection] = []

    def hold(connection: Connection, request: Request) -> None:
        if not held:
            held.append(connection)
            connection.hold()

    service = StubService(hold)
    async with served(service) as server:
        async with Wire(server.address) as client:
            client.send_bytes(msgpack.packb([2, "heartbeat", [1, {"age_ms": 1}]]) * 100)
            await wait_until_async(lambda: held)
        await server.hub.wait_until_quiet(TIMEOUT_MS)
        assert service.served_count == 1
        held[0].release()
        held[0].release()
        await wait_until_async(lambda: service.closed_connections)
        assert service.served_count == 100

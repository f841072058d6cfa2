"""Starting, stopping and the doors of a node."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from pathlib import Path
from typing import Any

import msgpack
import pytest

from presencedb.credentials import Credentials, Principal, Right
from presencedb.errors import ListenError, Unavailable
from presencedb.node.node import Node
from tests.node.running import QUICK, address_of, running_node
from tests.support.certificates import Certificate
from tests.support.waiting import wait_until_async
from tests.support.wire import Wire

TOKENS = Credentials([("a long secret", Principal("somebody", frozenset({Right.READ})))])


async def test_it_is_ready_from_start_to_stop() -> None:
    node = Node(QUICK)
    assert (node.ready, node.tcp_address, node.tick_age_ms) == (False, None, 0)
    await node.stop()
    await node.start()
    await wait_until_async(lambda: node.ready)
    await node.stop()
    assert not node.ready
    await node.stop()


async def test_a_taken_port_is_named_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "node.sock"
    async with running_node() as first:
        host, port = address_of(first)
        second = Node(dataclasses.replace(QUICK, listen=(host, port), unix_path=str(path)))
        with pytest.raises(ListenError, match=f"cannot listen on {host}:{port}: address already in use"):
            await second.start()
        third = Node(dataclasses.replace(QUICK, unix_path=str(tmp_path / "nowhere" / "node.sock")))
        with pytest.raises(ListenError, match="no such file"):
            await third.start()
        assert not path.exists()


async def test_unix_socket_and_tcp_are_one_node(tmp_path: Path) -> None:
    path = str(tmp_path / "node.sock")
    async with running_node(unix_path=path) as node, Wire(address_of(node)) as tcp, Wire(path) as unix:
        await tcp.call("heartbeat", ["alice"])
        assert await unix.call("status", ["alice"]) == [True]


async def test_without_tcp_the_unix_socket_is_the_address(tmp_path: Path) -> None:
    path = str(tmp_path / "node.sock")
    async with running_node(listen=None, unix_path=path) as node, Wire(path) as client:
        assert node.tcp_address is None
        assert (await client.call("topology"))["members"][0]["address"] == f"unix:{path}"


async def test_tls(tmp_path: Path, event_loop_kind: str) -> None:
    certificate = Certificate(tmp_path)
    async with (
        running_node(ttl_ms=60_000, ssl_context=certificate.server_context()) as node,
        Wire(address_of(node), ssl_context=certificate.client_context()) as client,
    ):
        everybody = list(range(50_000))
        assert await client.call("heartbeat", everybody) == len(everybody)
        assert await client.call("status", everybody) == [True] * len(everybody)


async def test_a_socket_of_this_process_is_a_client_with_rights_of_its_own(event_loop_kind: str) -> None:
    async with running_node(credentials=TOKENS) as node:
        ours, theirs = socket.socketpair()
        with ours:
            ours.setblocking(False)
            node.accept(theirs, frozenset({Right.WRITE}))
            assert await _call(ours, "heartbeat", ["alice"]) == [1, 0, None, 1]
            assert (await _call(ours, "count"))[2][0] == "denied"
            # Neither a token nor other credentials change what it was given.
            await _call(ours, "hello", {"token": "a long secret"})
            node.set_credentials(Credentials([("another secret", Principal("other", frozenset({Right.READ})))]))
            assert (await _call(ours, "count"))[2][0] == "denied"
            assert await _call(ours, "heartbeat", ["alice"]) == [1, 0, None, 0]


async def _call(sock: socket.socket, method: str, *params: object) -> list[Any]:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, msgpack.packb([0, 0, method, params]))
    answer: list[Any] = msgpack.unpackb(await loop.sock_recv(sock, 65536))
    return answer


async def test_nothing_can_be_handed_to_a_node_that_does_not_run() -> None:
    node = Node(QUICK)
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(RuntimeError, match="not started"):
        node.accept(theirs, frozenset())
    with pytest.raises(RuntimeError, match="not started"):
        node.set_credentials(None)
    await node.start()
    await node.stop()
    ours, theirs = socket.socketpair()
    node.accept(theirs, frozenset())
    with ours:
        assert ours.recv(1) == b""


class TestDrain:
    async def test_what_was_sent_is_answered_before_the_end(self, event_loop_kind: str) -> None:
        async with running_node(ttl_ms=60_000) as node, Wire(address_of(node)) as client:
            count = 20_000
            for number in range(count):
                client.send("heartbeat", [number])
            await asyncio.sleep(0)
            await node.stop()
            answers = await client.read_to_end()
            assert [answer.result for answer in answers] == [1] * count

    async def test_a_large_answer_reaches_a_slow_reader(self, event_loop_kind: str) -> None:
        async with running_node(ttl_ms=60_000) as node, Wire(address_of(node)) as client:
            ids = [f"{number:0200}" for number in range(10_000)]
            await client.call("heartbeat", ids)
            # In one write, so that the node has all of them when the first is answered; what has not come in is not served.
            first, *msgids = client.send_together(*[("online", None, 10_000)] * 20)
            assert len((await client.answer(first))[1]) == len(ids)
            stopping = asyncio.create_task(node.stop())
            for msgid in msgids:
                assert len((await client.answer(msgid))[1]) == len(ids)
            await stopping

    async def test_a_client_that_never_reads_does_not_hold_the_stop(self) -> None:
        async with running_node(ttl_ms=60_000, drain_timeout_ms=200) as node, Wire(address_of(node)) as client:
            await client.call("heartbeat", [f"{number:0200}" for number in range(10_000)])
            deaf = socket.create_connection(address_of(node))
            with deaf:
                deaf.sendall(msgpack.packb([0, 1, "online", [None, 10_000]]) * 100)
                await wait_until_async(lambda: _requests(client, "online"))
                await node.stop()

    async def test_a_client_that_never_ends_is_refused_in_the_end(self, event_loop_kind: str) -> None:
        async with running_node(ttl_ms=60_000, drain_timeout_ms=600) as node, Wire(address_of(node)) as client:
            flooding = True

            async def flood() -> None:
                while flooding:
                    client.send_bytes(msgpack.packb([2, "heartbeat", [1]]) * 500)
                    await asyncio.sleep(0)

            task = asyncio.create_task(flood())
            await node.stop()
            flooding = False
            await task

    async def test_nobody_new_is_served(self) -> None:
        async with running_node() as node:
            address = address_of(node)
            await node.stop()
            with pytest.raises(OSError, match=r"refused|Connect call failed"):
                async with Wire(address):
                    pass


async def test_after_the_drain_requests_are_refused() -> None:
    async with running_node() as node, Wire(address_of(node)) as client:
        await client.call("ping")
        assert node._parts is not None
        node._parts.context.stopping = True
        with pytest.raises(Unavailable, match="shutting down"):
            await client.call("ping")


async def _requests(client: Wire, command: str) -> bool:
    return bool((await client.call("info"))["requests"][command])

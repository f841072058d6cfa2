"""Who calls the port of the protocol by HTTP is told so in HTTP, and nobody else is."""

from __future__ import annotations

import asyncio
import http.client
import subprocess
from typing import Final

import msgpack
import pytest

from presencedb.config import HTTP
from tests.support.msgpackrpc import RawConnection
from tests.support.programs import require_program
from tests.transport.stub import StubService, served

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
LARGE_BODY: Final = b"x" * 3_000_000


def ask(address: tuple[str, int], method: str, body: bytes | None) -> tuple[int, str | None, bytes]:
    connection = http.client.HTTPConnection(*address, timeout=20)
    try:
        connection.request(method, "/status/alice", body)
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type"), response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("method", METHODS)
async def test_an_http_client_is_told_where_http_is(method: str) -> None:
    service = StubService()
    async with served(service) as server:
        status, kind, text = await asyncio.to_thread(ask, server.address, method, None)
        assert (status, kind) == (400, "text/plain; charset=utf-8")
        if method != "HEAD":
            assert b"MessagePack-RPC" in text
            assert str(HTTP.default.port).encode() in text
        assert service.served_count == 0
        assert server.hub.protocol_errors == 1


async def test_a_client_that_sends_much_is_told_too() -> None:
    async with served(StubService()) as server:
        assert (await asyncio.to_thread(ask, server.address, "POST", LARGE_BODY))[0] == 400


async def test_curl_shows_it() -> None:
    curl = require_program("curl")
    async with served(StubService()) as server:
        command = [curl, "-s", "-d", '{"user_id": 42}', "http://{}:{}/heartbeat".format(*server.address)]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=20, check=False)
        assert done.returncode == 0
        assert b"MessagePack-RPC" in done.stdout


async def test_nobody_who_spoke_the_protocol_first_is_told() -> None:
    """A letter in the middle of a stream is a value that is no request, whatever comes after it."""

    def talk(address: tuple[str, int]) -> tuple[object, list[object]]:
        with RawConnection(address) as connection:
            pong = connection.call("ping")
            connection.send(b"GET / HTTP/1.1\r\n\r\n")
            return pong, connection.receive_to_end()

    async with served(StubService()) as server:
        assert await asyncio.to_thread(talk, server.address) == ((None, "ping"), [])


async def test_requests_before_it_are_answered_in_the_protocol() -> None:
    def talk(address: tuple[str, int]) -> list[object]:
        with RawConnection(address) as connection:
            connection.send(msgpack.packb([0, 1, "ping", []]) + b"GET / HTTP/1.1\r\n\r\n")
            return connection.receive_to_end()

    async with served(StubService()) as server:
        assert await asyncio.to_thread(talk, server.address) == [[1, 1, None, "ping"]]

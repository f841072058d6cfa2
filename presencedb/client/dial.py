"""Making one connection in asyncio: socket, TLS, hello, within one timeout, and nothing left behind when it fails."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from presencedb.client.failures import GIVEN_UP, connect_error
from presencedb.client.link import Link
from presencedb.client.targets import Dialing, Greeting, Target
from presencedb.client.url import Address, TcpAddress, UnixAddress

MakeSocket: TypeAlias = Callable[[], Awaitable[socket.socket]]
"""Gives a connected socket, each time a new one."""


def socket_maker(address: Address) -> MakeSocket:
    """What makes sockets that are connected to an address."""
    if isinstance(address, UnixAddress):
        return lambda: _connect_unix(address)
    return lambda: _connect_tcp(address)


async def dial(target: Target[MakeSocket], greeting: Greeting, timeout_s: float) -> Link:
    """Connect, and say hello.

    Raises:
        ConnectError: nobody listens, TLS failed, or it took longer than the timeout.
        RequestError: the server refused the hello: the token is missing or wrong.
        ServerError: the server takes nobody now.
        ProtocolError: who listens there does not speak the protocol.
    """
    dialing = Dialing(target, timeout_s)
    try:
        async with asyncio.timeout(timeout_s) as deadline:
            sock = await target.make_socket()
            dialing.socket_is_connected()
            link = await _open(target, sock)
            dialing.session_is_open()
            try:
                link.server = dialing.server_info(await link.send("hello", [greeting.options()]))
            except BaseException:
                link.end(connect_error(target.name, GIVEN_UP))
                raise
    except (OSError, ValueError) as error:
        raise dialing.failure(error, timed_out=isinstance(error, TimeoutError) and deadline.expired()) from error
    link.start_liveness()
    return link


async def _open(target: Target[MakeSocket], sock: socket.socket) -> Link:
    loop = asyncio.get_running_loop()
    link = Link(loop, sock, target.name)
    try:
        if sock.family == socket.AF_UNIX:
            await loop.create_unix_connection(lambda: link, sock=sock)
        else:
            await loop.create_connection(
                lambda: link, sock=sock, ssl=target.ssl_context, server_hostname=target.server_hostname
            )
    except BaseException:
        link.end(connect_error(target.name, GIVEN_UP))
        # A transport that exists closes the socket itself in the next turn, and may be half through a handshake until then.
        loop.call_soon(loop.call_soon, sock.close)
        raise
    return link


async def _connect_tcp(address: TcpAddress) -> socket.socket:
    last: OSError | None = None
    for family, kind, protocol, _, sockaddr in await _resolve(address.host, address.port):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(sock, sockaddr)
        except OSError as error:
            sock.close()
            last = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise last or OSError(f"{address.host} has no address")


async def _resolve(host: str, port: int) -> list[tuple[Any, ...]]:
    try:
        # An address in digits needs no thread, which is where the loop resolves names.
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    except socket.gaierror:
        return list(await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM))


async def _connect_unix(address: UnixAddress) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address.path)
    except BaseException:
        sock.close()
        raise
    return sock

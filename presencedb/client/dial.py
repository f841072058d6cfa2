"""Making one connection: socket, TLS, hello. Each step within the connect timeout, and nothing left behind when it fails."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from presencedb.client.failures import connect_error, reason_of
from presencedb.client.link import Link
from presencedb.client.url import TCP_SCHEME, TLS_SCHEME, Address, TcpAddress, UnixAddress
from presencedb.client.values import ServerInfo
from presencedb.errors import ConnectError, ProtocolError
from presencedb.version import __version__

MakeSocket: TypeAlias = Callable[[], Awaitable[socket.socket]]
"""Gives a connected socket, each time a new one."""

GIVEN_SOCKET: Final = "the given socket"
"""What stands for an address where the sockets are made by the caller."""

_CURE_PLAIN: Final = f"; if it serves TLS, the URL begins with {TLS_SCHEME}://"
_CURE_TLS: Final = f"; if it serves no TLS, the URL begins with {TCP_SCHEME}://"


@dataclass(frozen=True, slots=True)
class Target:
    """One place to connect to: how to get a connected socket, and what to do on it first.

    Attributes:
        cure: what may help where the server hangs up before it was understood.
    """

    name: str
    make_socket: MakeSocket
    ssl_context: ssl.SSLContext | None = None
    server_hostname: str | None = None
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Greeting:
    """How a client introduces itself."""

    client_name: str
    token: str | None = field(default=None, repr=False)

    def options(self) -> dict[str, Any]:
        """The options of `hello`."""
        options = {"client": self.client_name, "version": __version__}
        return options if self.token is None else {**options, "token": self.token}


def target_of(address: Address, ssl_context: ssl.SSLContext | None) -> Target:
    """The target for an address of a URL; without a context, TLS trusts what the system trusts."""
    if isinstance(address, UnixAddress):
        return Target(str(address), lambda: _connect_unix(address))
    if not address.tls:
        return Target(str(address), lambda: _connect_tcp(address), cure=_CURE_PLAIN)
    return Target(
        str(address),
        lambda: _connect_tcp(address),
        ssl_context or ssl.create_default_context(),
        address.host.partition("%")[0],
        cure=_CURE_TLS,
    )


async def dial(target: Target, greeting: Greeting, timeout_s: float) -> Link:
    """Connect, and say hello.

    Raises:
        ConnectError: nobody listens, TLS failed, or it took longer than the timeout.
        RequestError: the server refused the hello: the token is missing or wrong.
        ServerError: the server takes nobody now.
        ProtocolError: who listens there does not speak the protocol.
    """
    step, cure = "connection", ""
    try:
        async with asyncio.timeout(timeout_s) as deadline:
            sock = await target.make_socket()
            step, cure = ("answer to hello" if target.ssl_context is None else "TLS handshake"), target.cure
            link = await _open(target, sock)
            if target.ssl_context is not None:
                step, cure = "answer to hello", ""
            try:
                link.server = _server_info(target, await link.send("hello", [greeting.options()]))
            except BaseException:
                link.end(connect_error(target.name, "the connection was given up"))
                raise
    except ConnectError as error:
        if not cure:
            raise
        raise connect_error(target.name, error.reason + cure) from None
    except (OSError, ValueError) as error:
        if isinstance(error, TimeoutError) and deadline.expired():
            hint = cure if step == "TLS handshake" else ""  # whoever serves TLS does not wait for more of what is none
            raise connect_error(target.name, f"no {step} within {timeout_s:g} s{hint}") from None
        hint = "" if isinstance(error, ssl.SSLCertVerificationError) else cure
        raise connect_error(target.name, reason_of(error) + hint) from error
    link.start_liveness()
    return link


def _server_info(target: Target, answer: Any) -> ServerInfo:
    try:
        return ServerInfo.from_wire(answer)
    except ProtocolError as error:
        raise ProtocolError(f"{target.name}: {error.message}") from None


async def _open(target: Target, sock: socket.socket) -> Link:
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
        link.end(connect_error(target.name, "the connection was given up"))
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

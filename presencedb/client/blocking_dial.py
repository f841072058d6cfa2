"""Making one connection of the blocking client: socket, TLS, hello, within one timeout, and nothing left when it fails.

A name is resolved by the system, in its own time: there is no way to end that early without a thread.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from math import inf
from typing import Any, TypeAlias

from presencedb.client.channel import Channel
from presencedb.client.forks import close_in_child, no_fork
from presencedb.client.route import Route
from presencedb.client.settings import ClientSettings
from presencedb.client.targets import Dialing, Greeting, Target
from presencedb.client.url import Address, TcpAddress, UnixAddress
from presencedb.client.waiting import READABLE, WRITABLE, Alarm, Patience, left_s, now_s
from presencedb.errors import ClientClosed, Error

Connect: TypeAlias = Callable[[float], socket.socket]
"""Gives a connected socket, each time a new one; it is told how many seconds that may take."""
MakeSocket: TypeAlias = Callable[[Patience], socket.socket]
"""The same, inside the client."""


def socket_maker(address: Address) -> MakeSocket:
    """What makes sockets that are connected to an address."""
    if isinstance(address, UnixAddress):
        return partial(_connect_unix, address)
    return partial(_connect_tcp, address)


def given_sockets(connect: Connect) -> MakeSocket:
    """What makes sockets by a function of the caller's."""
    return lambda patience: connect(left_s(patience.until_s))


def dial_any(
    route: Route[MakeSocket],
    lock: AbstractContextManager[object],
    settings: ClientSettings[MakeSocket],
    alarm: Alarm,
    until_s: float = inf,
) -> Channel:
    """Try each target once, by a route that one thread at a time dials for.

    Args:
        lock: held whenever the route is told something, since others may tell it of lost connections meanwhile.
        until_s: when to give up in the middle of it.

    Raises:
        ConnectError: none of them can be reached, or not in time.
        Error: the server refused the hello, there is none that speaks the protocol, or the alarm was ended.
    """
    for target in route.round():
        timeout_s = min(settings.connect_timeout_s, until_s - now_s())
        if timeout_s <= 0:
            raise route.out_of_time()
        try:
            channel = dial(target, settings.greeting, timeout_s, alarm)
        except ClientClosed:
            raise
        except Error as error:
            with lock:
                route.failed(target, error)
        else:
            with lock:
                route.connected()
            return channel
    with lock:
        raise route.round_failed(now_s())


def dial(target: Target[MakeSocket], greeting: Greeting, timeout_s: float, alarm: Alarm) -> Channel:
    """Connect, and say hello.

    Raises:
        ConnectError: nobody listens, TLS failed, or it took longer than the timeout.
        RequestError: the server refused the hello: the token is missing or wrong.
        ServerError: the server takes nobody now.
        ProtocolError: who listens there does not speak the protocol.
        Error: the alarm was ended.
    """
    dialing = Dialing(target, timeout_s)
    patience = Patience(alarm, now_s() + timeout_s)
    try:
        sock = target.make_socket(patience)
        dialing.socket_is_connected()
        channel = _open(target, sock, patience)
        dialing.session_is_open()
        try:
            channel.server = dialing.server_info(channel.ask("hello", [greeting.options()], patience.until_s))
        except BaseException:
            channel.close()
            raise
    except (OSError, ValueError) as error:
        timed_out = isinstance(error, TimeoutError) and now_s() >= patience.until_s
        raise dialing.failure(error, timed_out=timed_out) from error
    return channel


def _open(target: Target[Any], sock: socket.socket, patience: Patience) -> Channel:
    try:
        close_in_child(sock)
        sock.setblocking(False)
        if target.ssl_context is not None:
            sock = _secure(sock, target.ssl_context, target.server_hostname)
            _shake_hands(sock, patience)
        return Channel(sock, target.name, patience.alarm)
    except BaseException:
        sock.close()
        raise


def _secure(sock: socket.socket, context: ssl.SSLContext, server_hostname: str | None) -> ssl.SSLSocket:
    with no_fork:
        secured = context.wrap_socket(sock, server_hostname=server_hostname, do_handshake_on_connect=False)
        close_in_child(secured)
        return secured


def _shake_hands(sock: ssl.SSLSocket, patience: Patience) -> None:
    while True:
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            patience.wait_for(sock, READABLE)
        except ssl.SSLWantWriteError:
            patience.wait_for(sock, WRITABLE)
        else:
            return


def _connect_tcp(address: TcpAddress, patience: Patience) -> socket.socket:
    last: OSError | None = None
    for family, kind, protocol, _, sockaddr in socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM):
        sock = _new_socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _connect(sock, sockaddr, patience)
        except OSError as error:
            sock.close()
            last = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise last or OSError(f"{address.host} has no address")


def _connect_unix(address: UnixAddress, patience: Patience) -> socket.socket:
    sock = _new_socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _connect(sock, address.path, patience)
    except BaseException:
        sock.close()
        raise
    return sock


def _new_socket(family: int, kind: int, protocol: int = 0) -> socket.socket:
    with no_fork:
        sock = socket.socket(family, kind, protocol)
        close_in_child(sock)
        return sock


def _connect(sock: socket.socket, sockaddr: Any, patience: Patience) -> None:
    sock.setblocking(False)
    failure = sock.connect_ex(sockaddr)
    if failure == errno.EINPROGRESS:
        patience.wait_for(sock, WRITABLE)
        failure = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if failure:
        raise OSError(failure, os.strerror(failure))

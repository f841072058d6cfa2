"""Where connections come from: TCP ports, Unix sockets, and sockets that somebody in this process hands over."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import stat
from pathlib import Path
from typing import Final

from presencedb.credentials import Right
from presencedb.errors import ListenError
from presencedb.limits import LISTEN_BACKLOG, SECOND_MS, TLS_HANDSHAKE_MS_MAX
from presencedb.transport.connection import Connection, Service
from presencedb.transport.hub import Hub
from presencedb.units import Address

_NO_SUCH_FAMILY: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})


class Listener:
    """Accepts connections for one service.

    `rights` is what a new connection may do: everything where no credentials are configured, None where it has to show a
    token first.
    """

    def __init__(self, hub: Hub, service: Service, rights: frozenset[Right] | None) -> None:
        self.rights = rights
        self._hub = hub
        self._service = service
        self._servers: list[asyncio.Server] = []
        self._unix_paths: list[tuple[Path, int]] = []

    async def listen_tcp(self, host: str, port: int, ssl_context: ssl.SSLContext | None) -> tuple[str, int]:
        """Listen on every address that the host stands for, all with the same port; 0 picks a free one.

        Returns:
            The first address, with the real port.

        Raises:
            ListenError: the address is taken, not of this machine, or not understood.
        """
        loop = self._hub.loop
        name = str(Address(host, port))
        try:
            found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except (OSError, UnicodeError) as error:
            raise ListenError(f"cannot listen on {name}: {_reason(error)}") from None
        sockets = _bind_all([(family, address) for family, _, _, _, address in found], name)
        for sock in sockets:
            self._servers.append(
                await loop.create_server(
                    self._make_connection,
                    sock=sock,
                    ssl=ssl_context,
                    backlog=LISTEN_BACKLOG,
                    ssl_handshake_timeout=TLS_HANDSHAKE_MS_MAX / SECOND_MS if ssl_context is not None else None,
                )
            )
        address = sockets[0].getsockname()
        return address[0], address[1]

    async def listen_unix(self, path_text: str) -> None:
        """Listen on a Unix socket. A socket file that nobody listens on any more is replaced.

        Raises:
            ListenError: somebody listens there, or something else is in the way.
        """
        sock, bound = _bind_unix(Path(path_text))
        self._unix_paths.append(bound)
        server = await self._hub.loop.create_unix_server(self._make_connection, sock=sock, backlog=LISTEN_BACKLOG)
        self._servers.append(server)

    async def adopt(self, sock: socket.socket, rights: frozenset[Right]) -> None:
        """Serve a socket that is connected already, such as one end of a pair."""
        sock.setblocking(False)
        await self._hub.loop.connect_accepted_socket(
            lambda: Connection(self._hub, self._service, rights, own_rights=True), sock
        )

    def stop(self) -> None:
        """Accept nobody any more. Connections that are there stay."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for path, inode in self._unix_paths:
            # Another process may have put its own socket there meanwhile.
            if path.exists() and path.stat().st_ino == inode:
                path.unlink()
        self._unix_paths.clear()

    def _make_connection(self) -> Connection:
        return Connection(self._hub, self._service, self.rights)


def _bind_all(found: list[tuple[int, tuple[object, ...]]], name: str) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    last_error: OSError | None = None
    try:
        for family, address in found:
            # With port 0 the first socket picks one, and the others take the same.
            port = sockets[0].getsockname()[1] if sockets else address[1]
            try:
                sockets.append(_bind_tcp(family, (address[0], port, *address[2:])))
            except OSError as error:
                if error.errno not in _NO_SUCH_FAMILY:
                    raise
                last_error = error
        if not sockets:
            raise last_error or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise ListenError(f"cannot listen on {name}: {_reason(error)}") from None
    return sockets


def _bind_tcp(family: int, address: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        # A second socket may be bound to a port where nobody listens yet; only listening shows who has it.
        sock.listen(LISTEN_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _bind_unix(path: Path) -> tuple[socket.socket, tuple[Path, int]]:
    try:
        _remove_stale_socket(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.bind(str(path))
            return sock, (path, path.stat().st_ino)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise ListenError(f"cannot listen on {path}: {_reason(error)}") from None


def _remove_stale_socket(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "a file that is not a socket is in the way")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass  # its queue is full: somebody listens, and is busy
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return "not the name of a host"  # Python speaks of its codec here, in other words in each version
    return (error.strerror or str(error)).lower()

"""Where to connect to and how to introduce oneself: decisions without I/O, shared by every client.

A `Target` is one place; `Dialing` is one attempt to reach it: it knows how far the attempt has come, and so what a failure
at that point means, in words for a person.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from presencedb.client.failures import connect_error, reason_of
from presencedb.client.url import TCP_SCHEME, TLS_SCHEME, Address, TcpAddress
from presencedb.client.values import ServerInfo
from presencedb.errors import ConnectError, ProtocolError
from presencedb.version import __version__

S = TypeVar("S")
"""How a client makes a connected socket: whatever its kind of I/O calls for that."""

GIVEN_SOCKET: Final = "the given socket"
"""What stands for an address where the sockets are made by the caller."""

_CURE_PLAIN: Final = f"; if it serves TLS, the URL begins with {TLS_SCHEME}://"
_CURE_TLS: Final = f"; if it serves no TLS, the URL begins with {TCP_SCHEME}://"
_HANDSHAKE: Final = "TLS handshake"
_HELLO: Final = "answer to hello"


@dataclass(frozen=True, slots=True)
class Target(Generic[S]):
    """One place to connect to: how to get a connected socket, and what to do on it first.

    Attributes:
        cure: what may help where the server hangs up before it was understood.
    """

    name: str
    make_socket: S
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


def target_of(address: Address, ssl_context: ssl.SSLContext | None, socket_maker: Callable[[Address], S]) -> Target[S]:
    """The target for an address of a URL; without a context, TLS trusts what the system trusts.

    Args:
        socket_maker: gives what makes sockets that are connected to an address.
    """
    make_socket = socket_maker(address)
    if not isinstance(address, TcpAddress):
        return Target(str(address), make_socket)
    if not address.tls:
        return Target(str(address), make_socket, cure=_CURE_PLAIN)
    context = ssl_context or ssl.create_default_context()
    return Target(str(address), make_socket, context, address.host.partition("%")[0], cure=_CURE_TLS)


class Dialing:
    """One attempt to connect to a target: socket, TLS, hello."""

    def __init__(self, target: Target[Any], timeout_s: float) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self._step = "connection"
        self._cure = ""

    def socket_is_connected(self) -> None:
        """The socket is there; TLS comes next, where the target has it, else hello."""
        self._step = _HELLO if self._target.ssl_context is None else _HANDSHAKE
        self._cure = self._target.cure

    def session_is_open(self) -> None:
        """Hello comes next."""
        self._step = _HELLO
        if self._target.ssl_context is not None:
            self._cure = ""

    def server_info(self, answer: Any) -> ServerInfo:
        """Read the answer to hello.

        Raises:
            ProtocolError: it is of another shape, or of a protocol that this client does not speak.
        """
        try:
            return ServerInfo.from_wire(answer)
        except ProtocolError as error:
            raise ProtocolError(f"{self._target.name}: {error.message}") from None

    def failure(self, error: OSError | ValueError, *, timed_out: bool) -> ConnectError:
        """What it means that the attempt failed by this error now.

        Args:
            timed_out: the timeout of the attempt is over.
        """
        name = self._target.name
        if isinstance(error, ConnectError):
            return connect_error(name, error.reason + self._cure)
        if timed_out:
            # Whoever serves TLS does not wait for more of what is none: a hint only where the handshake hangs.
            hint = self._cure if self._step == _HANDSHAKE else ""
            return connect_error(name, f"no {self._step} within {self._timeout_s:g} s{hint}")
        hint = "" if isinstance(error, ssl.SSLCertVerificationError) else self._cure
        return connect_error(name, reason_of(error) + hint)

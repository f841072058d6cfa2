"""Every exception of presencedb, and the one table that says what each means on each interface.

An error that crosses the wire is `[code, message]`. `ERRORS` maps a code to its class; the class carries what every
interface needs to know about it: may the same call be tried again, which HTTP status, which exit status. A code is
declared once; a duplicate is refused at import.

Whose fault it is shows in the class: a `RequestError` was caused by what the caller sent, a `ServerError` by the state
of the server, a `ClientError` arose in this process before or instead of an answer.
"""

from __future__ import annotations

from typing import ClassVar, Final

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2


class Error(Exception):
    """The root of every exception that presencedb raises on purpose."""

    code: ClassVar[str] = ""
    """The name on the wire; empty where the error never crosses it."""
    retryable: ClassVar[bool] = False
    """Whether the same call may succeed when tried again, without anybody changing anything."""
    http_status: ClassVar[int] = 500
    exit_status: ClassVar[int] = EXIT_FAILED

    @property
    def message(self) -> str:
        """The sentence for a person: it names the limit and the value where there is one."""
        return str(self.args[0]) if self.args else self.code


class RequestError(Error):
    """The server refused what was sent; sending the same again gets the same answer."""


class ServerError(Error):
    """The request was sound, but the server cannot serve it now."""


class ClientError(Error):
    """The call failed on this side: no connection, no answer in time, or an answer that makes no sense."""


class BadRequest(RequestError):
    """The request is malformed, or an id or option in it is not valid. Nothing of it was applied."""

    code = "bad_request"
    http_status = 400


class UnknownMethod(RequestError):
    """There is no such method."""

    code = "unknown_method"
    http_status = 404


class Unauthenticated(RequestError):
    """A token or key is needed, or the one given is not known."""

    code = "unauthenticated"
    http_status = 401


class Denied(RequestError):
    """The token or key is known, but does not carry the right that the call needs."""

    code = "denied"
    http_status = 403


class TooLarge(RequestError):
    """A frame, batch or subscription is above its limit; the message names limit and value."""

    code = "too_large"
    http_status = 413


class Busy(ServerError):
    """The server has too much to do, or no memory left for new users; try again later."""

    code = "busy"
    retryable = True
    http_status = 503


class GapError(ServerError):
    """Transitions after the given cursor are not to be had any more; read the state and start anew."""

    code = "gap"
    http_status = 410


class Moved(ServerError):
    """The slot belongs to another node in a newer topology."""

    code = "moved"
    retryable = True
    http_status = 503


class Unavailable(ServerError):
    """Nobody who could answer is reachable, or the server is shutting down."""

    code = "unavailable"
    retryable = True
    http_status = 503


class ConnectError(ClientError, ConnectionError):
    """No connection to the server, or it was lost and could not be had again in time.

    Attributes:
        address: where it was looked for, as a URL.
        reason: what went wrong there, without the address.
    """

    retryable = True
    http_status = 503

    def __init__(self, message: str, *, address: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.address = address
        self.reason = reason or message


class CallTimeout(ClientError, TimeoutError):
    """The call got no answer within its timeout."""

    retryable = True
    http_status = 504


class ClientClosed(ClientError):
    """The client was closed before the call, or while it went on."""


class ProtocolError(ClientError):
    """The peer sent something that is not MessagePack-RPC as presencedb speaks it."""

    http_status = 502


class UnknownError(ClientError):
    """The server answered with an error code that this version does not know."""


class ConfigError(Error):
    """An option, a configuration file or an environment variable is wrong; the message says how to mend it."""

    exit_status = EXIT_USAGE


class ListenError(Error):
    """An address cannot be listened on: taken, or not of this machine; the message names it."""


def _table(*classes: type[Error]) -> dict[str, type[Error]]:
    table: dict[str, type[Error]] = {}
    for cls in classes:
        if not cls.code or cls.code in table:
            raise TypeError(f"error code {cls.code!r} of {cls.__name__} is empty or taken")
        table[cls.code] = cls
    return table


ERRORS: Final = _table(BadRequest, UnknownMethod, Unauthenticated, Denied, TooLarge, Busy, GapError, Moved, Unavailable)
"""Every error that crosses the wire: code -> class."""


def from_wire(code: str, message: str) -> Error:
    """The exception for `[code, message]` as a peer sent it. A code of a later version gives `UnknownError`."""
    cls = ERRORS.get(code)
    return cls(message) if cls is not None else UnknownError(f"{code}: {message}")

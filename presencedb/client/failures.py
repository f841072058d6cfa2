"""The errors that a client makes itself, in one wording."""

from __future__ import annotations

import copy
import os
import ssl
from collections.abc import Sequence
from typing import Final, TypeVar

from presencedb.client.url import DEFAULT_PORT
from presencedb.errors import CallTimeout, ClientClosed, ConnectError, Error, GapError, ProtocolError

E = TypeVar("E", bound=Exception)

GIVEN_UP: Final = "the connection was given up"
CLOSED_BY_SERVER: Final = "the server closed the connection"
CHANGES_MISSED: Final = "changes were missed: the server was started again or its warm-up ended, or this reader was too slow"
"""All that is known when a feed cannot go on: a server does not tell which."""
_CUT: Final = "the connection was cut"


def connect_error(address: str, reason: str) -> ConnectError:
    """A server cannot be reached, or not any more."""
    return ConnectError(f"cannot reach {address}: {reason}", address=address, reason=reason)


def joined_error(errors: Sequence[ConnectError]) -> ConnectError:
    """None of several servers can be reached: one error that names each."""
    if len(errors) == 1:
        return errors[0]
    return ConnectError(
        f"cannot reach {'; '.join(f'{error.address}: {error.reason}' for error in errors)}",
        address=", ".join(error.address for error in errors),
        reason="; ".join(dict.fromkeys(error.reason for error in errors)),
    )


def lost_error(address: str, error: Exception | None) -> ConnectError:
    """A connection that was there is gone: by an error of the system, or closed by the server."""
    return connect_error(address, CLOSED_BY_SERVER if error is None else f"the connection was lost: {reason_of(error)}")


def silence_error(address: str, silent_s: float) -> ConnectError:
    """A connection was given up since nothing came on it for so long."""
    return connect_error(address, f"nothing was heard from the server for {silent_s:.1f} s")


def timeout_error(address: str, method: str, waited_s: float) -> CallTimeout:
    """A call got no answer in its time."""
    return CallTimeout(f"{address} did not answer {method} within {waited_s:.1f} s")


def not_understood(address: str, error: ProtocolError, data: bytes, *, greeted: bool) -> ProtocolError:
    """What came on a connection is not of this protocol.

    Args:
        data: the bytes that were not understood.
        greeted: the other end has answered a hello before.
    """
    if not greeted and data.startswith(b"HTTP/"):
        return ProtocolError(f"{address} is an HTTP port; this client's protocol is on another, usually port {DEFAULT_PORT}")
    return ProtocolError(f"{address}: {error.message}")


def not_asked(msgid: int) -> ProtocolError:
    """An answer came that belongs to no request."""
    return ProtocolError(f"the server answered request {msgid}, which was not asked")


def not_understood_by_cluster(method: str) -> ProtocolError:
    """A member of a cluster has answered with something else than the call promises."""
    return ProtocolError(f"a node of the cluster answered {method} with something that is not understood")


def client_closed() -> ClientClosed:
    """The client was closed."""
    return ClientClosed("the client is closed")


def feed_closed() -> ClientClosed:
    """A follow or watch was closed, or has ended."""
    return ClientClosed("the feed is closed")


def missed_error(method: str) -> GapError:
    """A follow or watch cannot go on where it was."""
    return GapError(f'{CHANGES_MISSED}; read the state and {method} anew, or ask for on_gap="resync"')


def copy_of(error: E) -> E:
    """The same error for another caller: each needs its own, since raising one writes its traceback into it."""
    return copy.copy(error) if isinstance(error, Error) else error


def reason_of(error: BaseException) -> str:
    """What went wrong, in the words of the system, without addresses and numbers."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLEOFError):
        return _CUT
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {(error.reason or str(error)).lower().replace('_', ' ')}"
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return _begun_small(os.strerror(error.errno))
    if isinstance(error, OSError) and error.strerror:
        return _begun_small(error.strerror)
    if isinstance(error, ConnectionError) and not str(error):
        return _CUT
    return str(error) or type(error).__name__


def _begun_small(text: str) -> str:
    # The system begins its reasons with a capital letter; here they stand behind a colon.
    return text[:1].lower() + text[1:]

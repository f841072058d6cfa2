"""The errors that a client makes itself, in one wording."""

from __future__ import annotations

import copy
import os
import ssl
from collections.abc import Sequence
from typing import TypeVar

from presencedb.errors import ClientClosed, ConnectError, Error

E = TypeVar("E", bound=Exception)


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


def client_closed() -> ClientClosed:
    """The client was closed."""
    return ClientClosed("the client is closed")


def copy_of(error: E) -> E:
    """The same error for another caller: each needs its own, since raising one writes its traceback into it."""
    return copy.copy(error) if isinstance(error, Error) else error


def reason_of(error: BaseException) -> str:
    """What went wrong, in the words of the system, without addresses and numbers."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {(error.reason or str(error)).lower().replace('_', ' ')}"
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return _begun_small(os.strerror(error.errno))
    if isinstance(error, OSError) and error.strerror:
        return _begun_small(error.strerror)
    if isinstance(error, ConnectionError) and not str(error):
        return "the connection was cut"
    return str(error) or type(error).__name__


def _begun_small(text: str) -> str:
    # The system begins its reasons with a capital letter; here they stand behind a colon.
    return text[:1].lower() + text[1:]

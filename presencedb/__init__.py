"""presencedb: the store behind the green dot."""

from presencedb.client.aio import AsyncClient
from presencedb.client.values import Change, ConnectionState, ServerInfo
from presencedb.errors import (
    BadRequest,
    Busy,
    CallTimeout,
    ClientClosed,
    ClientError,
    ConfigError,
    ConnectError,
    Denied,
    Error,
    GapError,
    ListenError,
    Moved,
    ProtocolError,
    RequestError,
    ServerError,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnknownError,
    UnknownMethod,
)
from presencedb.ids import Id
from presencedb.version import __version__

__all__ = [
    "AsyncClient",
    "BadRequest",
    "Busy",
    "CallTimeout",
    "Change",
    "ClientClosed",
    "ClientError",
    "ConfigError",
    "ConnectError",
    "ConnectionState",
    "Denied",
    "Error",
    "GapError",
    "Id",
    "ListenError",
    "Moved",
    "ProtocolError",
    "RequestError",
    "ServerError",
    "ServerInfo",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "UnknownError",
    "UnknownMethod",
    "__version__",
]

"""presencedb: the store behind the green dot.

The client is loaded when it is first asked for: the command line, which lives in this package too, then starts quickly, and
has the first word where something in the environment is wrong.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
from presencedb.version import __version__

if TYPE_CHECKING:
    from presencedb.client.aio import AsyncClient
    from presencedb.client.blocking import Client
    from presencedb.client.blocking_feed import Follow, Watch
    from presencedb.client.follow import AsyncFollow
    from presencedb.client.stats import CallTrace, ClientStats
    from presencedb.client.values import Change, ConnectionState, ServerInfo
    from presencedb.client.watch import AsyncWatch
    from presencedb.ids import Id

__all__ = [
    "AsyncClient",
    "AsyncFollow",
    "AsyncWatch",
    "BadRequest",
    "Busy",
    "CallTimeout",
    "CallTrace",
    "Change",
    "Client",
    "ClientClosed",
    "ClientError",
    "ClientStats",
    "ConfigError",
    "ConnectError",
    "ConnectionState",
    "Denied",
    "Error",
    "Follow",
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
    "Watch",
    "__version__",
]

_LOADED_WHEN_ASKED_FOR = {
    "AsyncClient": "presencedb.client.aio",
    "AsyncFollow": "presencedb.client.follow",
    "AsyncWatch": "presencedb.client.watch",
    "CallTrace": "presencedb.client.stats",
    "Change": "presencedb.client.values",
    "Client": "presencedb.client.blocking",
    "ClientStats": "presencedb.client.stats",
    "ConnectionState": "presencedb.client.values",
    "Follow": "presencedb.client.blocking_feed",
    "Id": "presencedb.ids",
    "ServerInfo": "presencedb.client.values",
    "Watch": "presencedb.client.blocking_feed",
}


def __getattr__(name: str) -> Any:
    if name not in _LOADED_WHEN_ASKED_FOR:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LOADED_WHEN_ASKED_FOR[name]), name)
    globals()[name] = value
    return value

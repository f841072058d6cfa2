"""Request -> handler."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Final, TypeAlias

import structlog

from presencedb.errors import Error, Unavailable
from presencedb.node import commands
from presencedb.node.context import NodeContext
from presencedb.protocol.commands import COMMANDS
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection

log = structlog.get_logger()

Handler: TypeAlias = Callable[[NodeContext, Connection, Request], None]


def load_handlers() -> dict[str, Handler]:
    """The `handle` function of each file in `commands/`, by the name of the command.

    Raises:
        TypeError: there is a command without a file, or a file without a command.
    """
    names = {module.name for module in pkgutil.iter_modules(commands.__path__)}
    if names != set(COMMANDS):
        raise TypeError(f"the table of commands and node/commands/ differ in {sorted(names ^ set(COMMANDS))}")
    return {name: importlib.import_module(f"{commands.__name__}.{name}").handle for name in COMMANDS}


HANDLERS: Final = load_handlers()


class Dispatcher:
    """Serves the requests of all connections of one node; the `Service` behind its listener."""

    def __init__(self, context: NodeContext) -> None:
        self._context = context

    def serve(self, connection: Connection, request: Request) -> None:
        """Answer a request: by its handler, or with the error that it met."""
        context = self._context
        command = request.command
        context.counters.requests[command.name] += request.frame_count
        try:
            if context.stopping:
                raise Unavailable("the server is shutting down")
            context.doorkeeper.check(connection, request)
            if context.cluster is not None:
                context.cluster.look()
            HANDLERS[command.name](context, connection, request)
        except Error as error:
            connection.fail(request, error)
        except Exception:
            context.counters.failures += 1
            log.exception("a request failed", command=command.name, peer=connection.peer)
            connection.fail(request, Unavailable("the server met an error of its own; its log says which"))

    def has_room(self, connection: Connection) -> None:
        """A connection that events were held back for can take some."""
        self._context.subscribers.has_room(connection)

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""
        self._context.subscribers.leave(connection, self._context.ticker.now())

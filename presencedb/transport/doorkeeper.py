"""Who may do what at a door: tokens shown with hello, rights held against commands, introductions logged once.

Nodes and routers have one each. A connection carries what it may do; this decides it.
"""

from __future__ import annotations

from typing import Final

import structlog

from presencedb.credentials import ALL_RIGHTS, Credentials, Principal, Right, digest_of
from presencedb.errors import Denied, Error, Unauthenticated
from presencedb.protocol.messages import Request
from presencedb.protocol.params import Options
from presencedb.transport.connection import Connection
from presencedb.transport.hub import Hub

log = structlog.get_logger()

NAME_CHARS_MAX: Final = 100
"""What the log shows of the name and the version that a client gives itself."""


class Doorkeeper:
    """What is asked of the connections of one server.

    Attributes:
        credentials: None: no token is needed.
    """

    def __init__(self, credentials: Credentials | None) -> None:
        self.credentials = credentials

    def rights_of(self, token_digest: bytes | None) -> frozenset[Right] | None:
        """What a caller may do who has shown this token, or none; None: nothing before it shows a good one."""
        if self.credentials is None:
            return ALL_RIGHTS
        principal = self.principal_of(token_digest)
        return principal.rights if principal is not None else None

    def principal_of(self, token_digest: bytes | None) -> Principal | None:
        """Whom the token names that a caller has shown; None: nobody, it has shown none or none is asked for."""
        if self.credentials is None or token_digest is None:
            return None
        return self.credentials.find_digest(token_digest)

    def admit(self, connection: Connection, options: Options) -> None:
        """A caller says hello. A token that is not known leaves the connection as it was.

        Raises:
            Unauthenticated: it is not known.
        """
        token = options.token
        if token is not None and not connection.own_rights:
            digest = digest_of(token)
            rights = self.rights_of(digest)
            if rights is None:
                raise Unauthenticated("this token is not known")
            connection.rights = rights
            connection.token_digest = digest
        self._log_introduction(connection, options)

    def check(self, connection: Connection, request: Request) -> None:
        """Hold a request against what its caller may do.

        Raises:
            Error: Unauthenticated, where it has shown no token yet, or Denied.
        """
        command = request.command
        if command.right is not None and (connection.rights is None or command.right not in connection.rights):
            raise _refusal(connection, command.name, command.right)
        if request.options.forwarded and (connection.rights is None or Right.CLUSTER not in connection.rights):
            raise _refusal(connection, "a forwarded write", Right.CLUSTER)

    def change(self, credentials: Credentials | None, hub: Hub) -> None:
        """Ask for these tokens from now on.

        Connections are judged anew by the token that they have shown. One that may do less than before is closed, so that
        nothing it has asked for earlier goes on.
        """
        self.credentials = credentials
        for connection in hub.connections:
            if connection.own_rights:
                continue
            rights_before = connection.rights or frozenset()
            connection.rights = self.rights_of(connection.token_digest)
            if rights_before - (connection.rights or frozenset()):
                connection.close()

    def _log_introduction(self, connection: Connection, options: Options) -> None:
        """Log who is there, once a connection: a client may say hello again as often as it likes."""
        client, version = (text[:NAME_CHARS_MAX] if text else "" for text in (options.client, options.version))
        principal = self.principal_of(connection.token_digest)
        principal_name = principal.name if principal is not None else ""
        introduction = (client, version, principal_name)
        if not any(introduction) or introduction == connection.introduction:
            return
        connection.introduction = introduction
        log.debug(
            "a client introduced itself", peer=connection.peer, client=client, version=version, principal=principal_name
        )


def _refusal(connection: Connection, command_name: str, right: str) -> Error:
    if connection.rights is None:
        return Unauthenticated(f"{command_name} needs a token; show one with hello")
    return Denied(f"{command_name} needs the right {right}, which this token does not carry")

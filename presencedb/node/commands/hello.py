"""hello: the caller introduces itself and may show a token; the node says what it promises."""

from __future__ import annotations

from typing import Final

import structlog

from presencedb.credentials import digest_of
from presencedb.errors import Unauthenticated
from presencedb.limits import (
    FRAME_BYTES_MAX,
    GRACE_MS_MAX,
    HEARTBEATS_PER_TTL,
    IDS_PER_FRAME_MAX,
    REQUESTS_IN_FLIGHT_MAX,
    SCAN_LIMIT_MAX,
    WATCHED_IDS_MAX,
)
from presencedb.node.context import NodeContext
from presencedb.protocol.messages import PROTOCOL_VERSION, Request
from presencedb.transport.connection import Connection
from presencedb.version import __version__

log = structlog.get_logger()

NAME_CHARS_MAX: Final = 100
"""What the log shows of the name and the version that a client gives itself."""
LIMITS = {
    "frame_bytes": FRAME_BYTES_MAX,
    "ids_per_frame": IDS_PER_FRAME_MAX,
    "requests_in_flight": REQUESTS_IN_FLIGHT_MAX,
    "scan_limit": SCAN_LIMIT_MAX,
    "watched_ids": WATCHED_IDS_MAX,
    "grace_ms": GRACE_MS_MAX,
}


def handle(context: NodeContext, connection: Connection, request: Request) -> None:
    """A token that is not known leaves the connection as it was."""
    token = request.options.token
    if token is not None and not connection.own_rights:
        digest = digest_of(token)
        rights = context.rights_of(digest)
        if rights is None:
            raise Unauthenticated("this token is not known")
        connection.rights = rights
        connection.token_digest = digest
    _log_introduction(context, connection, request)
    settings = context.settings
    connection.reply(
        request,
        {
            "protocol": PROTOCOL_VERSION,
            "version": __version__,
            "node": settings.node_id,
            "run": context.run,
            "ttl_ms": settings.ttl_ms,
            "tick_ms": settings.tick_ms,
            "heartbeat_interval_ms": settings.ttl_ms // HEARTBEATS_PER_TTL,
            "retention": settings.retention_name,
            "limits": LIMITS,
        },
    )


def _log_introduction(context: NodeContext, connection: Connection, request: Request) -> None:
    """Log who is there, once a connection: a client may say hello again as often as it likes."""
    client, version = (text[:NAME_CHARS_MAX] if text else "" for text in (request.options.client, request.options.version))
    principal = context.principal_of(connection.token_digest)
    principal_name = principal.name if principal is not None else ""
    introduction = (client, version, principal_name)
    if not any(introduction) or introduction == connection.introduction:
        return
    connection.introduction = introduction
    log.debug("a client introduced itself", peer=connection.peer, client=client, version=version, principal=principal_name)

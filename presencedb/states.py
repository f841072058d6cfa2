"""The words of presence that every layer shares: what a status is, and why one changed."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """What is known of a user, one byte each in the answers of an engine."""

    OFFLINE = 0
    ONLINE = 1
    UNKNOWN = 2
    """Not online as far as this node knows, but it has not been told everything (its slot is not synced)."""


class Reason(IntEnum):
    """Why a status changed. On the wire: the name in lower case."""

    HEARTBEAT = 0
    TIMEOUT = 1
    SIGN_OFF = 2
    KNOWN = 3
    """The status was unknown before; nothing is said about the moment of the change."""
    UNKNOWN = 4
    """The status cannot be told any more (online is nil)."""

    @property
    def text(self) -> str:
        return self.name.lower()

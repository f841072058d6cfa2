"""What a case of conformance is: bytes that go in, and the messages that must come out, on one connection."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any


class Server(Enum):
    """How the server of a case is set up, apart from what all have in common (`TTL_MS`, `TICK_MS`, retention `online`)."""

    OPEN = "no token is needed"
    GUARDED = "the tokens of `TOKENS` are needed"
    WARMING = "it has just started with a warm-up, and knows of nobody"
    MEMBER = "it is the only member of a cluster, with the seed and the epoch of `MEMBER`, and knows that nobody is online"


MEMBER: dict[str, Any] = {"epoch": 5, "seed": 7, "replicas": 2, "id": "n1", "address": "node.example:7411", "weight": 100}
"""The cluster of a member, and the member."""
TTL_MS = 3_600_000
"""Long enough that nobody times out while the cases run."""
TICK_MS = 100
TOKENS = {
    "reader-token": "read",
    "writer-token": "write",
    "both-token": "",
    "admin-token": "admin",
    "everything-token": "read,write,admin,cluster",
}
"""Token -> rights, as in a token file; none named: read and write."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """Bytes to send, then the messages to come before anything else is sent.

    `sent` is bytes, or a list of messages with `Kept` values in them. An answer is bytes, or a structure with patterns in
    it, whose shortest MessagePack form is meant.
    """

    sent: bytes | list[Any]
    answers: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """Exchanges on one connection. After the last one nothing more may come.

    Attributes:
        closes: the server closes the connection after the last answer, of itself and not because the client is done.
        fresh: the case counts on nobody having been there before it.
    """

    name: str
    exchanges: tuple[Exchange, ...]
    server: Server = Server.OPEN
    closes: bool = False
    fresh: bool = False


def say(sent: bytes | list[Any], *answers: Any) -> Exchange:
    """An exchange."""
    return Exchange(sent, answers)


def case(name: str, *exchanges: Exchange, server: Server = Server.OPEN, closes: bool = False, fresh: bool = False) -> Case:
    """A case."""
    return Case(name, exchanges, server, closes, fresh)

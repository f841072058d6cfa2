"""What a command is: what it takes and gives, what right it needs, how a cluster serves it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from presencedb.credentials import Right


class Split(Enum):
    """Whom a cluster asks."""

    ANY = "any node"
    OWNERS = "every owner of each id"
    FIRST_KNOWN = "the first owner of each id, the next ones for what is unknown"
    TELLER = "of each id the first owner that knows its status, and is listened to from then on"
    SLOTS = "one owner of each slot"
    ALL = "every node"
    NODE = "the node that is meant; a router refuses it"


class Merge(Enum):
    """How a cluster makes one answer of many."""

    ONE = "the one answer"
    SUM = "the sum"
    IN_ORDER = "put together in the order asked"
    CHAIN = "one after the other"
    BY_NODE = "a map of the nodes' answers"


class Param(Enum):
    """A positional parameter."""

    IDS = "ids"
    CURSOR = "cursor"
    LIMIT = "limit"
    MEMBER = "member"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One row of the table.

    Attributes:
        optional: how many of the last positional parameters may be left out.
        right: what the caller's token must allow; None: anybody may call it.
        notification: whether it may be sent without wanting a reply.
        help: one line for people.
    """

    name: str
    params: tuple[Param, ...] = ()
    optional: int = 0
    options: tuple[str, ...] = ()
    result: str
    right: Right | None
    notification: bool = False
    split: Split
    merge: Merge
    since: str = "0.1"
    help: str

    @property
    def usage(self) -> str:
        """The parameters as documentation writes them: `[ids, {age_ms?, epoch?}]`."""
        required = len(self.params) - self.optional
        names = [param.value + ("?" if index >= required else "") for index, param in enumerate(self.params)]
        if self.options:
            names.append("{" + ", ".join(f"{name}?" for name in self.options) + "}")
        return "[" + ", ".join(names) + "]"

"""THE table of commands: what each takes, what right it needs, how it is split over nodes and how the answers merge.

Dispatch, router, documentation and conformance tests read this table; there is no second list. A command's parameters are
its positional ones, in order, then optionally a map of options. `read_params` holds a request against its command.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from presencedb.credentials import Right
from presencedb.errors import BadRequest, TooLarge
from presencedb.ids import IdBatch
from presencedb.limits import (
    AGE_MS_MAX,
    CURSOR_BYTES_MAX,
    GRACE_MS_MAX,
    IDS_PER_FRAME_MAX,
    OPTION_TEXT_BYTES_MAX,
    OPTIONS_MAX,
    SCAN_LIMIT_MAX,
    SLOT_COUNT,
)


class Split(Enum):
    """Whom a cluster asks."""

    ANY = "any node"
    OWNERS = "every owner of each id"
    FIRST_KNOWN = "the first owner of each id, the next ones for what is unknown"
    TELLER = "of each id the first owner that knows its status, and is listened to from then on"
    SLOTS = "one owner of each slot"
    ALL = "every node"


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


@dataclass(slots=True)
class Options:
    """The options of a request; a command takes those that it names."""

    age_ms: int = 0
    grace_ms: int = 0
    epoch: int | None = None
    slots: tuple[int, ...] | None = None
    token: str | None = field(default=None, repr=False)
    client: str | None = None
    version: str | None = None


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


@dataclass(slots=True)
class Params:
    """What `read_params` makes of the parameters of a request."""

    ids: IdBatch
    cursor: str | None
    limit: int
    options: Options


_NO_IDS: Final = IdBatch.of_canonical([])


def read_params(command: Command, values: list[Any]) -> Params:
    """Hold the decoded parameters of a request against its command.

    Raises:
        BadRequest: too few, too many, or of the wrong kind; the message says what the command takes.
        TooLarge: more ids than a batch may have.
    """
    positional = values
    if values and type(values[-1]) is dict:
        positional = values[:-1]
        options = _read_options(command, values[-1])
    else:
        options = Options()
    if not len(command.params) - command.optional <= len(positional) <= len(command.params):
        raise BadRequest(f"{command.name} takes {command.usage}, not {len(positional)} positional parameters")
    params = Params(_NO_IDS, None, 0, options)
    for param, value in zip(command.params, positional, strict=False):
        if param is Param.IDS:
            params.ids = _read_ids(value)
        elif param is Param.CURSOR:
            params.cursor = _read_cursor(value)
        else:
            params.limit = _read_int("limit", value, 1, SCAN_LIMIT_MAX)
    return params


def _read_ids(value: Any) -> IdBatch:
    if not isinstance(value, list):
        return IdBatch([value])
    if len(value) > IDS_PER_FRAME_MAX:
        raise TooLarge(f"a batch has at most {IDS_PER_FRAME_MAX} ids, not {len(value)}")
    return IdBatch(value)


def _read_cursor(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadRequest("a cursor is text or nil")
    return _checked_text("a cursor", value, CURSOR_BYTES_MAX)


def _read_int(name: str, value: Any, low: int, high: int) -> int:
    if type(value) is not int:
        raise BadRequest(f"{name} is an integer between {low} and {high}")
    if not low <= value <= high:
        raise BadRequest(f"{name} is an integer between {low} and {high}, not {value}")
    return value


def _read_text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise BadRequest(f"{name} is text")
    return _checked_text(name, value, OPTION_TEXT_BYTES_MAX)


def _checked_text(name: str, value: str, bytes_max: int) -> str:
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise BadRequest(f"{name} is valid UTF-8") from None
    if size > bytes_max:
        raise TooLarge(f"{name} has at most {bytes_max} bytes, not {size}")
    return value


def _read_slots(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise BadRequest(f"{name} is an array of slots")
    if len(value) > SLOT_COUNT:
        raise TooLarge(f"{name} has at most {SLOT_COUNT} slots, not {len(value)}")
    slots = tuple(_read_int("a slot", slot, 0, SLOT_COUNT - 1) for slot in value)
    if len(set(slots)) != len(slots):
        raise BadRequest("a slot is named twice")
    return slots


_OPTION_READERS: Final[dict[str, Callable[[str, Any], Any]]] = {
    "age_ms": lambda name, value: _read_int(name, value, 0, AGE_MS_MAX),
    "grace_ms": lambda name, value: _read_int(name, value, 0, GRACE_MS_MAX),
    "epoch": lambda name, value: _read_int(name, value, 0, 2**63 - 1),
    "slots": _read_slots,
    "token": _read_text,
    "client": _read_text,
    "version": _read_text,
}


def _read_options(command: Command, given: dict[Any, Any]) -> Options:
    if len(given) > OPTIONS_MAX:
        raise TooLarge(f"a request has at most {OPTIONS_MAX} options, not {len(given)}")
    options = Options()
    for name, value in given.items():
        if name not in command.options:
            known = ", ".join(command.options) or "none"
            raise BadRequest(f"{command.name} has no such option; it takes: {known}")
        setattr(options, name, _OPTION_READERS[name](name, value))
    return options


def _table(*commands: Command) -> dict[str, Command]:
    table = {command.name: command for command in commands}
    if len(table) != len(commands):
        raise TypeError("a command is declared twice")
    for command in commands:
        if unknown := set(command.options) - set(_OPTION_READERS):
            raise TypeError(f"{command.name} declares options that nothing reads: {unknown}")
    return table


COMMANDS: Final = _table(
    Command(
        name="hello",
        options=("token", "client", "version"),
        result="map: protocol, version, node, run, ttl_ms, tick_ms, heartbeat_interval_ms, retention, limits",
        right=None,
        split=Split.ANY,
        merge=Merge.ONE,
        help="Introduce yourself, show your token, and learn what this server promises.",
    ),
    Command(
        name="ping",
        result='"pong"',
        right=None,
        split=Split.ANY,
        merge=Merge.ONE,
        help="See whether the server answers.",
    ),
    Command(
        name="heartbeat",
        params=(Param.IDS,),
        options=("age_ms", "epoch"),
        result="how many of them came online by it",
        right=Right.WRITE,
        notification=True,
        split=Split.OWNERS,
        merge=Merge.SUM,
        help="Mark users alive. As a notification it costs half.",
    ),
    Command(
        name="offline",
        params=(Param.IDS,),
        options=("age_ms", "grace_ms", "epoch"),
        result="how many went offline by it at once",
        right=Right.WRITE,
        notification=True,
        split=Split.OWNERS,
        merge=Merge.SUM,
        help="Sign users off, at once or after a grace in which a heartbeat of another device keeps them online.",
    ),
    Command(
        name="status",
        params=(Param.IDS,),
        options=("epoch",),
        result="array of true / false / nil, in the order asked",
        right=Right.READ,
        split=Split.FIRST_KNOWN,
        merge=Merge.IN_ORDER,
        help="Ask who is online; nil is unknown.",
    ),
    Command(
        name="last_seen",
        params=(Param.IDS,),
        options=("epoch",),
        result="array of Unix milliseconds or nil, in the order asked",
        right=Right.READ,
        split=Split.FIRST_KNOWN,
        merge=Merge.IN_ORDER,
        help="Ask when users were last heard of.",
    ),
    Command(
        name="count",
        options=("slots",),
        result="users online now",
        right=Right.READ,
        split=Split.SLOTS,
        merge=Merge.SUM,
        help="Count the users online.",
    ),
    Command(
        name="online",
        params=(Param.CURSOR, Param.LIMIT),
        options=("slots",),
        result="[next cursor or nil, ids]",
        right=Right.READ,
        split=Split.SLOTS,
        merge=Merge.CHAIN,
        help="List the users online, page by page. Who is online all along appears exactly once.",
    ),
    Command(
        name="watch",
        params=(Param.IDS, Param.CURSOR),
        optional=1,
        result="[cursor, statuses], then `presence` notifications",
        right=Right.READ,
        split=Split.TELLER,
        merge=Merge.IN_ORDER,
        help="Learn who is online and be told of every change; with a cursor, of exactly those missed, or the error gap.",
    ),
    Command(
        name="unwatch",
        params=(Param.IDS,),
        result="how many of them were watched",
        right=Right.READ,
        split=Split.TELLER,
        merge=Merge.SUM,
        help="Be told no more of the changes of these users.",
    ),
    Command(
        name="follow",
        params=(Param.CURSOR,),
        optional=1,
        result="cursor, then every transition in `presence` notifications",
        right=Right.READ,
        split=Split.ALL,
        merge=Merge.CHAIN,
        help="Be told of every change; with a cursor, of exactly those missed since, or the error gap.",
    ),
    Command(
        name="info",
        result="map of counters",
        right=Right.ADMIN,
        split=Split.ALL,
        merge=Merge.BY_NODE,
        help="Look inside: users, memory, connections, lateness of expiry, stalls.",
    ),
    Command(
        name="topology",
        result="map: epoch, seed, replicas, members",
        right=Right.READ,
        split=Split.ANY,
        merge=Merge.ONE,
        help="Learn the members of the cluster and the seed of its hash.",
    ),
)
"""Every command of the protocol, by name."""

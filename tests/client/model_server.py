"""A model of a server for `follow` and `watch`, without I/O: what is true when, and one connection's two directions.

Everything is a step that a test takes in any order: something changes, a request arrives, changes are published, the log is
cut short. What the server says stands in `out`, in the order of the wire.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from presencedb.client.subscription import Ask
from presencedb.client.values import ONLINE_OF
from presencedb.errors import Busy, Error, GapError, TooLarge
from presencedb.ids import Id
from presencedb.protocol.messages import Notification

AT_MS = 1_700_000_000_000
WORDS = {True: "heartbeat", False: "timeout", None: "unknown"}


class Said(NamedTuple):
    """Something that the server says: an answer to a request, or a notification (then there is no `ask`)."""

    ask: Ask | None
    result: Any = None
    error: Error | None = None


@dataclass
class Connection:
    """What the server knows of the one connection."""

    follows: bool = False
    watched: dict[Id, None] = field(default_factory=dict)
    position: int | None = None
    out: deque[Said] = field(default_factory=deque)

    @property
    def reads(self) -> bool:
        return self.follows or bool(self.watched)


class ModelServer:
    """Users, a log of their changes, and a connection."""

    def __init__(self, watched_max: int = 6) -> None:
        self.watched_max = watched_max
        self.run = 0
        self.states: list[dict[Id, bool | None]] = [{}]  # after so many changes of this run
        self.log: list[tuple[Id, bool | None]] = []
        self.kept_from = 0
        self.busy_count = 0
        self.histories: dict[int, list[dict[Id, bool | None]]] = {0: self.states}
        self.connection: Connection | None = None

    # --- what happens ------------------------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        return len(self.log)

    @property
    def state(self) -> dict[Id, bool | None]:
        return self.states[-1]

    def state_at(self, cursor: str) -> dict[Id, bool | None]:
        """What was true where a cursor points, also of an earlier run."""
        run, number = cursor.split(".")
        return self.histories[int(run)][int(number)]

    def change(self, user_id: Id, online: bool | None) -> None:
        """A user's status becomes another one."""
        if self.state.get(user_id, False) is not online:
            self.states.append({**self.state, user_id: online})
            self.log.append((user_id, online))

    def restart(self) -> None:
        """Everything is forgotten but who is online; connections are lost, and old cursors of no use."""
        self.run += 1
        self.log = []
        self.kept_from = 0
        self.states = [{user_id: online for user_id, online in self.state.items() if online is not None}]
        self.histories[self.run] = self.states
        self.connection = None

    def forget_log(self) -> None:
        """Changes up to now are not to be had any more; who has not been told them has a gap."""
        self.kept_from = self.now
        connection = self.connection
        if connection is not None and connection.reads and (connection.position or 0) < self.now:
            connection.position = self.now
            statuses = [self.state.get(user_id, False) for user_id in connection.watched] or None
            connection.out.append(Said(None, Notification("gap", [self._cursor(self.now), statuses])))

    def publish(self, count: int) -> None:
        """Tell the connection up to so many changes more."""
        connection = self.connection
        if connection is None or connection.position is None or not connection.reads:
            return
        end = min(self.now, connection.position + count)
        events = [
            [user_id, online, AT_MS, WORDS[online]]
            for user_id, online in self.log[connection.position : end]
            if connection.follows or user_id in connection.watched
        ]
        connection.position = end
        if events:
            connection.out.append(Said(None, Notification("presence", [self._cursor(end), events])))

    # --- requests ----------------------------------------------------------------------------------------------------

    def take(self, ask: Ask, *, live: bool) -> None:
        """Carry a request out. A connection that is `live` is told everything before it is placed."""
        connection = self.connection
        assert connection is not None
        try:
            if self.busy_count:
                self.busy_count -= 1
                raise Busy("much to do")
            result = self._result(connection, ask, live=live)
        except Error as error:
            connection.out.append(Said(ask, error=error))
        else:
            connection.out.append(Said(ask, result))

    def _result(self, connection: Connection, ask: Ask, *, live: bool) -> Any:
        match ask.method, ask.params:
            case "watch", (list(ids), *cursor):
                position = self._place(connection, cursor, live=live)
                if len({*connection.watched, *ids}) > self.watched_max:
                    raise TooLarge("too many")
                for user_id in ids:
                    connection.watched.setdefault(user_id)
                connection.position = position
                return [self._cursor(position), [self.states[position].get(user_id, False) for user_id in ids]]
            case "unwatch", (list(ids),):
                return sum(connection.watched.pop(user_id, self) is None for user_id in ids)
            case "follow", cursor:
                connection.position = self._place(connection, cursor, live=live)
                connection.follows = True
                return self._cursor(connection.position)
            case "online", (cursor, int(limit)):
                # The cursor names a user, not a number: who stays online is on one page, whoever goes.
                everybody = sorted((user_id for user_id, online in self.state.items() if online), key=str)
                rest = [user_id for user_id in everybody if str(user_id) > (cursor or "")]
                page = rest[: min(limit, 2)]
                return [str(page[-1]) if page != rest else None, page]
            case "status", (list(ids),):
                return bytes(ONLINE_OF.index(self.state.get(user_id, False)) for user_id in ids)
        raise AssertionError(f"{ask.method} {ask.params}")

    def _place(self, connection: Connection, cursor: Any, *, live: bool) -> int:
        asked = self.now
        if cursor:
            run, _, number = cursor[0].partition(".")
            if run != str(self.run) or not self.kept_from <= int(number) <= self.now:
                raise GapError("this cursor is of no use")
            asked = int(number)
        if connection.reads and connection.position is not None:
            if live:
                self.publish(self.now)
            asked = min(asked, connection.position)
        return asked

    def _cursor(self, number: int) -> str:
        return f"{self.run}.{number}"

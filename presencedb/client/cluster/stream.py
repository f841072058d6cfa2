"""The stream of one member: everything that it tells, in order, on a connection of its own, and statuses in step with it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from presencedb.client.cluster.dialling import Dialling
from presencedb.client.cluster.member import MemberConnection, MemberState
from presencedb.client.link import Link
from presencedb.client.values import read_cursor, read_watched
from presencedb.errors import Error, ProtocolError
from presencedb.ids import IdBatch
from presencedb.placement import Member
from presencedb.protocol.messages import Notification
from presencedb.states import Status

_STATUS_OF: dict[bool | None, Status] = {False: Status.OFFLINE, True: Status.ONLINE, None: Status.UNKNOWN}


class StreamReader(Protocol):
    """Who listens to streams."""

    def began(self, stream: MemberStream) -> None:
        """What comes from now on has no hole; what was before is not known."""
        ...

    def ended(self, stream: MemberStream) -> None:
        """Nothing comes any more, or nothing in time."""
        ...

    def told(self, stream: MemberStream, events: list[Any]) -> None:
        """Changes, each `[id, online, at_ms, reason]` as it came."""
        ...


class MemberStream:
    """One member's stream.

    Attributes:
        is_on: whether changes come, and come in time.
    """

    def __init__(self, member: Member, dialling: Dialling, random: Random, reader: StreamReader) -> None:
        self.is_on = False
        self._reader = reader
        self._link: Link | None = None
        self.connection = MemberConnection(member, dialling, random)
        self.connection.on_state = self._state_changed

    @property
    def member_id(self) -> str:
        """Whose stream it is."""
        return self.connection.member.id

    def read(self, ids: IdBatch, then: Callable[[bytes | None], None]) -> None:
        """Ask for statuses as they are at a place in the stream: all that was told before has led to them, and what is told
        after `then` was called leads on from them. None: there is no answer.

        Args:
            ids: as many as a connection may watch, `WATCHED_IDS_MAX`.
        """
        self.connection.ask(_Statuses(len(ids), then), "watch", (ids,), len(ids))
        self.connection.ask(_Nothing(), "unwatch", (ids,), len(ids))

    async def close(self) -> None:
        """End it."""
        await self.connection.close()

    def drop(self) -> None:
        """The same, without waiting for the end of it."""
        self.connection.drop()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _state_changed(self, connection: MemberConnection) -> None:
        link = connection.link
        if connection.state is MemberState.UP and link is not None and link is not self._link:
            self._link = link
            link.on_notification = self._notified
            connection.ask(_Followed(self, link), "follow", ())
        elif connection.state is MemberState.UP and link is not None:
            self._set_on(link.on_notification is not None, link)
        elif connection.state is not MemberState.UP and self.is_on:
            self.is_on = False
            self._reader.ended(self)

    def followed(self, link: Link) -> None:
        """The member tells everything from now on."""
        if link is self._link:
            self._set_on(True, link)

    def refused(self, link: Link, error: Error) -> None:
        """The member does not tell anything: there is nothing to be had of this connection."""
        if link is self._link and link.lost_by is None:
            link.end(error)

    def _set_on(self, on: bool, link: Link) -> None:
        if on and not self.is_on and link is self._link:
            self.is_on = True
            self._reader.began(self)

    def _notified(self, notification: Notification) -> None:
        match notification.method, notification.params:
            case "presence", [str(), list(events)]:
                if events:
                    self._reader.told(self, events)
            case "gap", [str(), *_]:
                # Not `ended` first: nobody else has to take over.
                self._reader.began(self)
            case "presence" | "gap", _:
                raise ProtocolError("a member told something that is not understood")


class _Followed:
    """The question to be told everything."""

    def __init__(self, stream: MemberStream, link: Link) -> None:
        self._stream = stream
        self._link = link

    def answered(self, result: Any) -> None:
        try:
            read_cursor("follow", result)
        except ProtocolError as error:
            self._stream.refused(self._link, error)
        else:
            self._stream.followed(self._link)

    def failed(self, error: Error) -> None:
        self._stream.refused(self._link, error)


class _Statuses:
    """The question for statuses."""

    def __init__(self, count: int, then: Callable[[bytes | None], None]) -> None:
        self._count = count
        self._then = then

    def answered(self, result: Any) -> None:
        try:
            _, statuses = read_watched("watch", self._count, result)
        except ProtocolError:
            self._then(None)
        else:
            self._then(bytes(_STATUS_OF[status] for status in statuses))

    def failed(self, error: Error) -> None:  # noqa: ARG002 - whatever it was, there are no statuses
        self._then(None)


class _Nothing:
    """A question whose answer says nothing."""

    def answered(self, result: Any) -> None:
        """It was done."""

    def failed(self, error: Error) -> None:
        """The connection is gone, and with it what was to be undone."""

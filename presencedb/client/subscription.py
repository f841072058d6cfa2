"""What one `follow` or `watch` wants to know of its server, and what it has been told: a state machine without I/O.

Every client drives it in the same way, over one connection at a time that is this subscription's own:

    subscription.connected()                          there is a (new) connection
    while ask := subscription.next_ask(now_s):        send each; `wake_s` says when to look again without any news
    subscription.answered(ask, result)                what comes back, in the order in which it comes, answers and
    subscription.refused(ask, error, now_s)           notifications mixed as they are on the wire
    subscription.told(notification)
    subscription.lost(error)                          the connection is gone; another is needed while not `ended`
    subscription.take()                               the next change for the caller

After each step there may be something to ask, `wants_more` may have changed (while it is False nothing is to be read from
the connection), and the subscription may have `ended`: then the connection is of no more use, and `end_reached` raises why,
once what was received has been given out. What was received but not given out is never asked for again: after a reconnect
the subscription goes on behind it, so each change comes exactly once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, Literal, TypeAlias

from presencedb.client.failures import copy_of, feed_closed
from presencedb.client.portions import Portions
from presencedb.client.retry import backoff_s
from presencedb.client.values import Change, read_presence
from presencedb.errors import BadRequest, Error, GapError, ProtocolError
from presencedb.ids import Id
from presencedb.limits import FEED_REQUESTS_IN_FLIGHT_MAX, FOLLOW_QUEUE_CHANGES_MAX
from presencedb.protocol.messages import Notification

OnGap: TypeAlias = Literal["raise", "resync"]
"""What to do when changes were missed that cannot be had any more."""


def found_out(user_id: Id, online: bool | None) -> Change:
    """A change that was not told when it happened."""
    return Change(user_id, online, None, "unknown" if online is None else "known")


class Ask:
    """One request of a subscription: sent, and sent again where the server is busy or the connection is lost.

    Attributes:
        done: it was answered, or need not be asked any more.
        error: why it failed; None: it did not.
        may_wait: nobody waits for the answer, so it is not asked for while much waits to be given out.
    """

    __slots__ = ("_params_now", "answered", "done", "error", "id_count", "may_wait", "method", "params", "refused")

    def __init__(
        self,
        method: str,
        params_now: Callable[[], tuple[Any, ...] | None],
        answered: Callable[[Any], None],
        refused: Callable[[Error], None] | None = None,
        *,
        may_wait: bool = False,
    ) -> None:
        """Make a request.

        Args:
            params_now: what to send, asked for at each sending; None: there is nothing to ask any more.
            answered: what to do with the result.
            refused: what to do with an error that no other attempt would mend, beside telling whoever waits.
            may_wait: see the class.
        """
        self.method = method
        self.params: tuple[Any, ...] = ()
        self.id_count = 0
        self.done = False
        self.error: Exception | None = None
        self.answered = answered
        self.refused = refused
        self.may_wait = may_wait
        self._params_now = params_now

    def prepare(self) -> bool:
        """Set `params` and `id_count` for this sending; returns whether there is anything to ask."""
        params = self._params_now()
        if params is None:
            self.end()
            return False
        self.params = params
        self.id_count = len(params[0]) if params and isinstance(params[0], list) else 0
        return True

    def end(self, error: Exception | None = None) -> None:
        """It is not asked any more; whoever waits for it gets an error of the same kind."""
        self.done = True
        self.error = None if error is None else copy_of(error)


class Subscription(ABC):
    """What `follow` and `watch` have in common.

    Attributes:
        telling: the server tells what changes, on the present connection.
        begun: it has done so once.
        ended: nothing more will be received.
        gap_count: how often changes were missed.
        change_count: how many changes were received.
    """

    def __init__(self, cursor: str | None, on_gap: OnGap, random: Random) -> None:
        """Begin; nothing is asked before `connected`.

        Raises:
            BadRequest: the cursor is not text, or `on_gap` none of its values.
        """
        if cursor is not None and not isinstance(cursor, str):
            raise BadRequest(f"a cursor is text, not {type(cursor).__name__}")
        if on_gap not in ("raise", "resync"):
            raise BadRequest(f'on_gap is "raise" or "resync", not {on_gap!r}')
        self.telling = False
        self.begun = False
        self.ended = False
        self.gap_count = 0
        self.change_count = 0
        self._on_gap = on_gap
        self._random = random
        self._portions = Portions(cursor)
        self._position = cursor
        """The cursor after what was received."""
        self._unsent: deque[Ask] = deque()
        self._in_flight: set[Ask] = set()
        self._refusal_count = 0
        self._not_before_s: float | None = None
        self._is_full = False
        self._error: Exception | None = None

    # --- the caller --------------------------------------------------------------------------------------------------

    @property
    def cursor(self) -> str | None:
        """Where to go on after what was given out so far; None until the server has begun to tell."""
        return self._portions.cursor

    def take(self) -> Change | None:
        """The next change to give out; None: there is none now."""
        change = self._portions.take()
        if self._is_full and len(self._portions) <= FOLLOW_QUEUE_CHANGES_MAX // 2:
            self._is_full = False
        return change

    def end_reached(self) -> bool:
        """Whether the caller's iteration is over; to be asked once there is nothing to take.

        Raises:
            Exception: why it ended, once.
        """
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return self.ended

    def close(self) -> None:
        """End it for the caller, who wants nothing more."""
        self._portions.clear()
        self._error = None
        self.telling = False
        self.ended = True
        self._fail_waiting(feed_closed())

    def end(self, error: Exception) -> None:
        """End it by an error, which comes after what was received. An end that it has had already stays."""
        if not self.ended:
            self.ended = True
            self._error = error
            self._fail_waiting(error)

    # --- the connection ----------------------------------------------------------------------------------------------

    def connected(self) -> None:
        """There is a new connection."""
        self._in_flight.clear()
        self._unsent.clear()
        self._not_before_s = None
        self._place()

    def lost(self, error: Exception) -> None:
        """The connection is gone. One whose server does not speak the protocol is the last."""
        self.telling = False
        self._in_flight.clear()
        self._unsent.clear()
        if isinstance(error, ProtocolError):
            self.end(error)

    def next_ask(self, now_s: float) -> Ask | None:
        """What to send now; None: nothing, before `wake_s` or any news."""
        if self._not_before_s is not None:
            if now_s < self._not_before_s:
                return None
            self._not_before_s = None
        while self._unsent and not self.ended and len(self._in_flight) < FEED_REQUESTS_IN_FLIGHT_MAX:
            if self._is_full and self._unsent[0].may_wait:
                break
            ask = self._unsent.popleft()
            if ask.prepare():
                self._in_flight.add(ask)
                return ask
        return None

    @property
    def wake_s(self) -> float | None:
        """When there may be something to ask although nothing happens; None: not before anything happens."""
        return self._not_before_s

    def answered(self, ask: Ask, result: Any) -> None:
        """An answer came.

        Raises:
            ProtocolError: it is of another shape than was asked for; the connection is of no more use.
        """
        if ask in self._in_flight and not self.ended:
            self._in_flight.remove(ask)
            self._refusal_count = 0
            ask.answered(result)
            ask.end()

    def refused(self, ask: Ask, error: Error, now_s: float) -> None:
        """The server refused what was asked."""
        if ask not in self._in_flight or self.ended:
            return
        self._in_flight.remove(ask)
        if error.retryable:
            self._not_before_s = now_s + backoff_s(self._refusal_count, self._random)
            self._refusal_count += 1
            self._unsent.appendleft(ask)
            return
        if ask.refused is not None:
            ask.refused(error)
        ask.end(error)

    def told(self, notification: Notification) -> None:
        """The server told something unasked.

        Raises:
            ProtocolError: it is of another shape than promised; the connection is of no more use.
        """
        if self.ended:
            return
        if notification.method == "presence":
            cursor, changes = read_presence(notification.params)
            self._position = cursor
            self._hear(changes)
        elif notification.method == "gap":
            self._miss(notification.params)

    @property
    def wants_more(self) -> bool:
        """Whether more is to be read from the connection: not while much waits for the caller.

        Unless the caller waits for an answer, which comes behind everything else.
        """
        return not self._is_full or not all(ask.may_wait for ask in [*self._in_flight, *self._unsent])

    # --- for the two kinds -------------------------------------------------------------------------------------------

    @abstractmethod
    def _place(self) -> None:
        """Ask for what happens from the position on, on a connection that tells nothing yet."""

    @abstractmethod
    def _hear(self, changes: list[Change]) -> None:
        """Changes were received; they lead up to the position."""

    @abstractmethod
    def _resync(self, params: list[Any]) -> None:
        """A gap was notified, and is to be bridged: what the server goes on from is in the parameters."""

    def _queue(self, ask: Ask) -> None:
        self._unsent.append(ask)

    def _receive(self, changes: Iterable[Change], cursor: str | None) -> None:
        before = len(self._portions)
        self._portions.add(changes, cursor)
        self.change_count += len(self._portions) - before
        self._is_full = self._is_full or len(self._portions) > FOLLOW_QUEUE_CHANGES_MAX

    def _miss(self, params: list[Any]) -> None:
        self.gap_count += 1
        if self._on_gap == "raise":
            self.end(self._missed())
        else:
            self._resync(params)

    def _refuse_place(self, error: Error) -> None:
        """The server does not tell from the position on."""
        if not isinstance(error, GapError):
            self.end(error)
            return
        self.gap_count += 1
        if self._on_gap == "raise" or self._position is None:
            # The server speaks of a cursor, which the caller may never have seen.
            self.end(self._missed() if self.begun else error)
            return
        self._position = None
        self._lose_track()
        self._place()

    @abstractmethod
    def _lose_track(self) -> None:
        """What happened up to the position that will be had next is not known; it is to be found out."""

    @abstractmethod
    def _missed(self) -> GapError:
        """The error of a gap."""

    def _fail_waiting(self, error: Exception) -> None:
        """Whoever waits for an answer need wait no more."""
        for ask in [*self._in_flight, *self._unsent]:
            ask.end(error)
        self._in_flight.clear()
        self._unsent.clear()

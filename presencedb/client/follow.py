"""The feed of every change, as an async iterator that survives its connections."""

from __future__ import annotations

from presencedb.client.driver import Driver
from presencedb.client.feed import Changes
from presencedb.client.subscription import OnGap
from presencedb.client.subscription_follow import FollowSubscription


class AsyncFollow(Changes[FollowSubscription]):
    """Every change of any user, in order, for ever; use it with `async for`, best inside `async with`.

    It reconnects by itself and goes on where it was. `async with` returns once the server has begun to tell, so that
    nothing that happens inside is missed. Without it, telling begins at the first wait.

    Raises:
        ConnectError: the first connection cannot be made. A later one is tried for ever.
        GapError: the server no longer has what comes next: it was started again, its warm-up ended, this reader was too
            slow, or the cursor is none of its own. Read the state and follow anew, or ask for `on_gap="resync"`.
        Error: the server refuses. After an error or `aclose` the iterator is at its end.
    """

    def __init__(self, driver: Driver, cursor: str | None, on_gap: OnGap) -> None:
        super().__init__(driver, FollowSubscription(cursor, on_gap, driver.random))

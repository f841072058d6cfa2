"""Waiting for a condition with a deadline, the one way in which tests let time pass."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, overload

T = TypeVar("T")

DEADLINE_S: Final = 20.0
"""Generous: it is only ever used up by a failure, and the machine may be busy."""
PAUSE_S: Final = 0.01


def wait_until(predicate: Callable[[], T | None], deadline_s: float = DEADLINE_S, *, what: str = "the condition") -> T:
    """Call `predicate` until it gives something true, and return that.

    Raises:
        AssertionError: it did not within `deadline_s`; the message says what it gave last.
    """
    end = time.monotonic() + deadline_s
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(_message(what, deadline_s, value))
        time.sleep(PAUSE_S)


@overload
async def wait_until_async(
    predicate: Callable[[], Awaitable[T | None]], deadline_s: float = DEADLINE_S, *, what: str = "the condition"
) -> T: ...
@overload
async def wait_until_async(
    predicate: Callable[[], T | None], deadline_s: float = DEADLINE_S, *, what: str = "the condition"
) -> T: ...
async def wait_until_async(
    predicate: Callable[[], Any], deadline_s: float = DEADLINE_S, *, what: str = "the condition"
) -> Any:
    """As `wait_until`, in a coroutine; `predicate` may be a plain function or give an awaitable."""
    end = time.monotonic() + deadline_s
    while True:
        given = predicate()
        value = await given if inspect.isawaitable(given) else given
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(_message(what, deadline_s, value))
        await asyncio.sleep(PAUSE_S)


def _message(what: str, deadline_s: float, value: object) -> str:
    return f"{what} did not come true within {deadline_s:g} s; last it was {value!r}"

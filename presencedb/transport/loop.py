"""Which event loop runs: uvloop where it is installed, else asyncio's own. Nothing else in the project chooses one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

T = TypeVar("T")
LoopKind = Literal["auto", "uvloop", "asyncio"]


def run(main: Coroutine[Any, Any, T], *, kind: LoopKind = "auto") -> T:
    """Run a coroutine to its end on a fresh loop, and return its result.

    Raises:
        ImportError: `kind` is "uvloop" and it is not installed.
    """
    with asyncio.Runner(loop_factory=_factory(kind)) as runner:
        return runner.run(main)


def loop_name() -> str:
    """What the running loop is: `uvloop` or `asyncio`."""
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


def _factory(kind: LoopKind) -> Callable[[], asyncio.AbstractEventLoop]:
    if kind == "asyncio":
        return asyncio.new_event_loop
    try:
        import uvloop  # noqa: PLC0415 - not there on every platform
    except ImportError:
        if kind == "uvloop":
            raise
        return asyncio.new_event_loop
    return uvloop.new_event_loop

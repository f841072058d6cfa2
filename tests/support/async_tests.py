"""The plugin that runs `async def test_*`: a fresh event loop each, and nothing may be left when the test ends.

A test fails when it does not end within its deadline (60 s, or `@pytest.mark.deadline(seconds)`), leaves a task running,
or lets an exception reach the loop's exception handler. The loop is uvloop where it is installed;
`PRESENCEDB_TEST_LOOP=asyncio|uvloop` chooses. Async fixtures do not exist here: what a test needs it opens with
`async with`, so that it is closed in the same loop and task, before the checks.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import inspect
import os
from collections.abc import Callable, Coroutine
from typing import Any, Final

import pytest

DEADLINE_S: Final = 60.0
SETTLING_TURNS: Final = 10
"""Turns of the loop in which what was just closed or cancelled may finish."""
LOOPS: Final = ("asyncio", "uvloop")


def loop_name() -> str:
    """Which event loop the tests run on.

    Raises:
        pytest.UsageError: `PRESENCEDB_TEST_LOOP` names none.
    """
    name = os.environ.get("PRESENCEDB_TEST_LOOP") or ("uvloop" if importlib.util.find_spec("uvloop") else "asyncio")
    if name not in LOOPS:
        raise pytest.UsageError(f"PRESENCEDB_TEST_LOOP={name}: there are {' and '.join(LOOPS)}")
    return name


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop of the kind that the tests run on."""
    if loop_name() == "uvloop":
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.SelectorEventLoop()


def run_async(test: Callable[[], Coroutine[Any, Any, None]], deadline_s: float = DEADLINE_S) -> None:
    """Run a coroutine function to its end in a fresh loop, and check what it left behind.

    Raises:
        AssertionError: it took longer than `deadline_s`, left tasks, or an exception went to the loop's handler.
    """
    unhandled: list[dict[str, Any]] = []
    with asyncio.Runner(debug=False, loop_factory=new_event_loop) as runner:
        runner.get_loop().set_exception_handler(lambda _loop, context: unhandled.append(context))
        runner.run(_supervise(test, deadline_s))
    gc.collect()  # what the loop itself held on to, such as a transport that was left open
    if unhandled:
        messages = "; ".join(f"{context['message']}: {context.get('exception')!r}" for context in unhandled)
        raise AssertionError(f"the event loop met exceptions that nobody handled: {messages}") from unhandled[0].get(
            "exception"
        )


async def _supervise(test: Callable[[], Coroutine[Any, Any, None]], deadline_s: float) -> None:
    try:
        async with asyncio.timeout(deadline_s) as deadline:
            await test()
    except TimeoutError as error:
        if not deadline.expired():
            raise
        raise AssertionError(f"the test did not end within {deadline_s:g} s") from error
    gc.collect()  # a task whose exception nobody asked for tells so when it is collected
    for _ in range(SETTLING_TURNS):
        await asyncio.sleep(0)
    if left := asyncio.all_tasks() - {asyncio.current_task()}:
        raise AssertionError(f"the test left tasks running: {', '.join(repr(task) for task in left)}")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "deadline(seconds): how long an async test may take; 60 s without it")
    loop_name()


def pytest_report_header() -> str:
    return f"event loop of async tests: {loop_name()}"


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()  # all that pytest keeps for the whole run; without it each collection after a test takes 0.2 s


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(test).parameters}
    marker = pyfuncitem.get_closest_marker("deadline")
    run_async(lambda: test(**arguments), marker.args[0] if marker else DEADLINE_S)
    return True

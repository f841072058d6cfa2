"""The tests of `AsyncClient` run over the blocking client too: one behaviour, two ways to wait.

All of them but those that are about tasks, cancelling or the inside of the asyncio client, and those where the blocking
client is meant to differ, which `test_blocking.py` and its neighbours test.
"""

from __future__ import annotations

from types import ModuleType
from typing import Final

import pytest

from tests.client import (
    running,
    test_buffers,
    test_calls,
    test_connections,
    test_feed_get,
    test_follow,
    test_keep_online,
    test_retries,
    test_stats,
    test_wrong_answers,
)
from tests.client.in_threads import InThreads

LEFT_OUT: Final[dict[ModuleType, set[str]]] = {
    test_buffers: set(),
    test_feed_get: set(),
    test_calls: set(),
    test_wrong_answers: set(),
    test_connections: {
        "test_a_socket_whose_making_was_cancelled_is_one_that_cannot_be_had",
        "test_states_are_told_in_order",
        "test_a_peer_that_does_not_read_holds_its_callers_back",
    },
    test_retries: {
        "test_a_slow_server_that_is_heard_keeps_its_connection",
        "test_a_half_open_connection_is_noticed_while_nothing_is_asked",
        "test_an_idle_connection_is_kept_by_pings",
    },
    test_keep_online: {
        "test_the_delay_asked_for_is_never_longer_than_the_interval",
        "test_blocks_that_come_and_go_leave_one_beat",
    },
    test_stats: {
        "test_writes_of_one_turn_are_a_call_each",
        "test_a_call_that_is_cancelled_is_told_of",
        "test_an_error_in_the_hook_goes_to_the_handler_of_the_loop",
    },
    test_follow: {
        "test_a_reader_that_does_not_read_stops_its_server_and_loses_nothing",
        "test_waiting_can_be_cancelled_at_any_await_and_taken_up_again",
        "test_closing_ends_the_iteration",
    },
}


@pytest.fixture(autouse=True)
def blocking_client(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (running, *LEFT_OUT):
        monkeypatch.setattr(module, "AsyncClient", InThreads)


globals().update(
    {
        f"{name}__{module.__name__.rpartition('.')[2]}": test
        for module, left_out in LEFT_OUT.items()
        for name, test in vars(module).items()
        if name.startswith("test_") and name not in left_out
    }
)

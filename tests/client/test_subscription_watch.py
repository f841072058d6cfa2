"""The state machine of `watch`, step by step."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from presencedb.client.subscription import Ask, OnGap
from presencedb.client.subscription_watch import WatchSubscription
from presencedb.errors import BadRequest, Busy, ClientClosed, ConnectError, GapError, ProtocolError, TooLarge
from presencedb.ids import Id
from presencedb.limits import FOLLOW_QUEUE_CHANGES_MAX, FRAME_BYTES_MAX
from presencedb.protocol.messages import Notification
from tests.client.model_server import AT_MS


def placed(ids: list[Id], statuses: list[bool | None], on_gap: OnGap = "raise") -> WatchSubscription:
    """A watch of these users whose server has told the first statuses, at cursor c0."""
    watch = WatchSubscription(ids, None, on_gap, Random(1))
    watch.connected()
    answer(watch, ["c0", statuses])
    return watch


def answer(watch: WatchSubscription, result: Any) -> Ask:
    """Have the next request answered."""
    ask = watch.next_ask(0.0)
    assert ask is not None
    watch.answered(ask, result)
    return ask


def presence(cursor: str, *changes: tuple[Id, bool | None]) -> Notification:
    return Notification("presence", [cursor, [[user_id, online, AT_MS, "heartbeat"] for user_id, online in changes]])


def taken(watch: WatchSubscription) -> list[tuple[Id, bool | None, str]]:
    """All changes that wait."""
    found = []
    while (change := watch.take()) is not None:
        found.append((change.id, change.online, change.reason))
    return found


def test_first_statuses_then_changes() -> None:
    watch = WatchSubscription([2, "a", 2], None, "raise", Random(1))
    assert (watch.cursor, dict(watch.statuses), watch.next_ask(0.0)) == (None, {}, None)
    watch.connected()
    ask = watch.next_ask(0.0)
    assert ask is not None
    assert (ask.method, ask.params, ask.id_count) == ("watch", ([2, "a"],), 2)
    assert watch.next_ask(0.0) is None
    watch.answered(ask, ["c0", [True, None]])
    assert (watch.cursor, dict(watch.statuses)) == ("c0", {2: True, "a": None})
    watch.told(presence("c1", (2, False), ("a", True)))
    watch.told(presence("c2"))
    assert (watch.cursor, dict(watch.statuses)) == ("c0", {2: True, "a": None})
    change = watch.take()
    assert change is not None
    assert (change.id, change.online, watch.cursor, dict(watch.statuses)) == (2, False, "c0", {2: False, "a": None})
    watch.take()
    assert (watch.take(), watch.cursor, dict(watch.statuses)) == (None, "c2", {2: False, "a": True})


def test_the_view_of_statuses_cannot_be_written() -> None:
    watch = placed([1], [True])
    with pytest.raises(TypeError):
        watch.statuses[1] = False  # type: ignore[index]  # that it is no mutable mapping is the test


def test_a_reconnect_goes_on_at_the_cursor_and_gives_out_what_differs() -> None:
    watch = placed([1, 2, 3], [True, True, True])
    watch.told(presence("c1", (1, False)))
    watch.lost(ConnectError("cut"))
    watch.connected()
    ask = answer(watch, ["c1", [False, False, None]])
    assert ask.params == ([1, 2, 3], "c1")
    assert taken(watch) == [(1, False, "heartbeat"), (2, False, "known"), (3, None, "unknown")]
    assert dict(watch.statuses) == {1: False, 2: False, 3: None}


def test_what_was_found_out_has_no_moment() -> None:
    watch = placed([1], [True])
    watch.lost(ConnectError("cut"))
    watch.connected()
    answer(watch, ["c1", [False]])
    change = watch.take()
    assert change is not None
    assert change.at is None


def test_a_refused_cursor_is_a_gap_after_what_was_received() -> None:
    watch = placed([1], [True])
    watch.told(presence("c1", (1, False)))
    watch.lost(ConnectError("cut"))
    watch.connected()
    ask = watch.next_ask(0.0)
    assert ask is not None
    watch.refused(ask, GapError("no such cursor"), 0.0)
    assert watch.ended
    assert taken(watch) == [(1, False, "heartbeat")]
    with pytest.raises(GapError, match=r'^changes were missed: .* watch anew, or ask for on_gap="resync"$'):
        watch.end_reached()
    assert watch.end_reached()


def test_a_refused_cursor_of_the_caller_is_the_servers_error_or_resyncs() -> None:
    on_gaps: tuple[OnGap, ...] = ("raise", "resync")
    for on_gap in on_gaps:
        watch = WatchSubscription([1], "mine", on_gap, Random(1))
        assert watch.cursor == "mine"
        watch.connected()
        ask = watch.next_ask(0.0)
        assert ask is not None
        assert ask.params == ([1], "mine")
        watch.refused(ask, GapError("not of this run"), 0.0)
        assert watch.gap_count == 1
        if on_gap == "raise":
            with pytest.raises(GapError, match="not of this run"):
                watch.end_reached()
        else:
            assert watch.cursor == "mine"
            assert answer(watch, ["c0", [True]]).params == ([1],)
            assert (dict(watch.statuses), watch.cursor, taken(watch)) == ({1: True}, "c0", [])


def test_a_gap_that_is_told_ends_or_resyncs_in_the_order_of_the_server() -> None:
    watch = placed([1, 2], [True, False])
    watch.told(Notification("gap", ["c5", [True, True]]))
    with pytest.raises(GapError):
        watch.end_reached()
    watch = placed([1, 2, 3], [True, False, False], "resync")
    watch.remove([1])
    answer(watch, 1)
    watch.add([1])
    answer(watch, ["c1", [True]])
    watch.told(Notification("gap", ["c5", [True, False, False]]))  # of 2, 3, 1
    assert taken(watch) == [(2, True, "known"), (1, False, "known")]
    assert (watch.cursor, watch.gap_count) == ("c5", 1)


def test_a_server_that_never_has_a_cursor_is_an_end() -> None:
    watch = WatchSubscription([1], "mine", "resync", Random(1))
    watch.connected()
    for _ in range(2):
        ask = watch.next_ask(0.0)
        assert ask is not None
        watch.refused(ask, GapError("never"), 0.0)
    with pytest.raises(GapError, match="never"):
        watch.end_reached()


def test_added_users_have_their_statuses_at_once_and_removed_ones_leave_nothing() -> None:
    watch = placed([1], [True])
    watch.told(presence("c1", (1, False)))
    adding = watch.add(["b"])
    done = [adding.done]
    answer(watch, ["c2", [True]])
    assert [*done, adding.done] == [False, True]
    assert dict(watch.statuses) == {1: True, "b": True}
    watch.told(presence("c3", ("b", False)))
    removing = watch.remove([1, "z"])
    assert dict(watch.statuses) == {"b": True}
    done = [removing.done]
    watch.told(presence("c4", (1, True)))  # on its way when it was removed
    assert answer(watch, 1).params == ([1, "z"],)
    assert [*done, removing.done] == [False, True]
    assert taken(watch) == [("b", False, "heartbeat")]
    assert watch.cursor == "c4"


def test_nobody_to_add_or_remove_is_done_at_once() -> None:
    watch = placed([1], [True])
    assert watch.add([]).done
    assert watch.remove([]).done
    assert watch.next_ask(0.0) is None


def test_a_watch_of_nobody_has_no_cursor_to_go_back_to() -> None:
    watch = placed([], [])
    assert (watch.cursor, dict(watch.statuses)) == ("c0", {})
    watch.lost(ConnectError("cut"))
    watch.connected()
    assert answer(watch, ["c9", []]).params == ([],)
    watch.add([1])
    answer(watch, ["d1", [True]])
    assert (watch.cursor, dict(watch.statuses)) == ("d1", {1: True})


def test_a_busy_server_is_asked_again_later() -> None:
    watch = WatchSubscription([1], None, "raise", Random(1))
    watch.connected()
    ask = watch.next_ask(5.0)
    assert ask is not None
    watch.refused(ask, Busy("much to do"), 5.0)
    wake_s = watch.wake_s
    assert wake_s is not None
    assert 5.0 < wake_s < 5.2
    assert watch.next_ask(5.0) is None
    assert watch.next_ask(wake_s) is ask
    assert watch.wake_s is None


def test_a_busy_server_does_not_undo_what_was_asked_since() -> None:
    watch = placed([1], [True])
    removing = watch.remove([1])
    ask = watch.next_ask(0.0)
    adding = watch.add([1])
    answer_ask = watch.next_ask(0.0)
    assert ask is removing
    assert answer_ask is adding
    watch.refused(removing, Busy("much to do"), 0.0)
    watch.answered(adding, ["c1", [True]])
    assert watch.next_ask(9.0) is None
    assert removing.done
    assert dict(watch.statuses) == {1: True}


def test_too_many_are_the_servers_error_and_change_nothing() -> None:
    watch = placed([1], [True])
    adding = watch.add([2, 3])
    ask = watch.next_ask(0.0)
    assert ask is not None
    watch.refused(ask, TooLarge("at most 2"), 0.0)
    assert isinstance(adding.error, TooLarge)
    assert (dict(watch.statuses), watch.ended) == ({1: True}, False)
    watch = WatchSubscription([1, 2, 3], None, "raise", Random(1))
    watch.connected()
    ask = watch.next_ask(0.0)
    assert ask is not None
    watch.refused(ask, TooLarge("at most 2"), 0.0)
    with pytest.raises(TooLarge, match="at most 2"):
        watch.end_reached()


def test_ids_that_fit_no_frame_are_refused_here() -> None:
    ids: list[Id] = [f"{number:0255}x"[-255:] for number in range(FRAME_BYTES_MAX // 255 + 1)]
    with pytest.raises(TooLarge, match="fit a frame"):
        WatchSubscription(ids, None, "raise", Random(1))
    with pytest.raises(TooLarge, match="fit a frame"):
        placed([1], [True]).add(ids)


@pytest.mark.parametrize(
    "result",
    [None, [], ["c"], ["c", [True]], ["c", [True, 1]], [5, [True, True]], ["c", [True, True], 1], ["c", True]],
)
def test_an_answer_of_another_shape_is_a_protocol_error(result: Any) -> None:
    watch = WatchSubscription([1, 2], None, "raise", Random(1))
    watch.connected()
    with pytest.raises(ProtocolError):
        answer(watch, result)
    watch = placed([], [])
    watch.add([1, 2])
    with pytest.raises(ProtocolError):
        answer(watch, result)
    if result != ["c", [True]]:
        watch = placed([1, 2], [True, True], "resync")
        with pytest.raises(ProtocolError):
            watch.told(Notification("gap", result if isinstance(result, list) else [result]))


def test_a_count_that_is_none_is_a_protocol_error() -> None:
    watch = placed([1, 2], [True, True])
    watch.remove([1])
    with pytest.raises(ProtocolError):
        answer(watch, "two")


def test_a_connection_that_spoke_no_protocol_is_the_last() -> None:
    watch = placed([1], [True])
    adding = watch.add([2])
    watch.lost(ProtocolError("nonsense"))
    assert isinstance(adding.error, ProtocolError)
    with pytest.raises(ProtocolError):
        watch.end_reached()


def test_requests_survive_a_lost_connection_where_they_still_mean_something() -> None:
    watch = placed([1, 2], [True, True])
    adding, removing = watch.add([3]), watch.remove([2])
    watch.next_ask(0.0)
    watch.lost(ConnectError("cut"))
    assert (removing.done, adding.done) == (True, False)
    assert watch.remove([1]).done
    watch.connected()
    assert answer(watch, ["c0", []]).params == ([],)
    assert answer(watch, ["c1", [False]]) is adding
    assert adding.params == ([3],)
    assert dict(watch.statuses) == {3: False}


def test_after_its_end_nothing_can_be_asked_of_it() -> None:
    watch = placed([1], [True])
    adding = watch.add([2])
    watch.close()
    assert isinstance(adding.error, ClientClosed)
    assert isinstance(watch.add([3]).error, ClientClosed)
    assert isinstance(watch.remove([1]).error, ClientClosed)
    assert watch.next_ask(0.0) is None
    assert watch.end_reached()


def test_while_much_waits_nothing_is_read_unless_an_answer_is_awaited() -> None:
    watch = placed([1], [True])
    half = FOLLOW_QUEUE_CHANGES_MAX // 2
    wanted = []
    for number in range(3):
        wanted.append(watch.wants_more)
        watch.told(presence(f"c{number}", *[(1, bool(index % 2)) for index in range(half)]))
    wanted.append(watch.wants_more)
    assert wanted == [True, True, True, False]
    watch.add([2])
    wanted = [watch.wants_more]
    answer(watch, ["c9", [True]])
    wanted.append(watch.wants_more)
    for _ in range(2 * half):
        watch.take()
    wanted.append(watch.wants_more)
    assert wanted == [True, False, True]


@pytest.mark.parametrize(("cursor", "on_gap"), [(5, "raise"), (b"c", "raise"), (None, "ignore"), (None, None)])
def test_wrong_arguments(cursor: Any, on_gap: Any) -> None:
    with pytest.raises(BadRequest):
        WatchSubscription([1], cursor, on_gap, Random(1))


def test_an_add_that_is_refused_leaves_nobody_watched_who_was_to_be_removed() -> None:
    watch = placed([1, 2], [True, True])
    watch.remove([1])
    adding = watch.add([1, 7])
    # For the sake of the one who comes back, nothing is removed.
    ask = watch.next_ask(0.0)
    assert ask is not None
    assert (ask.method, ask.params) == ("watch", ([1, 7],))
    watch.refused(ask, TooLarge("at most 2"), 0.0)
    assert isinstance(adding.error, TooLarge)
    ask = watch.next_ask(0.0)
    assert ask is not None
    assert (ask.method, ask.params) == ("unwatch", ([1],))
    watch.answered(ask, 1)
    assert (dict(watch.statuses), watch.next_ask(0.0)) == ({2: True}, None)

"""The state machine of `follow`, step by step; above all what it does after a gap."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from presencedb.client.subscription import Ask, OnGap
from presencedb.client.subscription_follow import FollowSubscription
from presencedb.errors import Busy, ConnectError, Denied, GapError, ProtocolError
from presencedb.ids import Id
from presencedb.limits import FOLLOW_QUEUE_CHANGES_MAX, RESYNC_PAGE_IDS
from presencedb.protocol.messages import Notification
from presencedb.states import Status
from tests.client.model_server import AT_MS

Taken = tuple[Id, bool | None, str]


def following(on_gap: OnGap = "resync", cursor: str | None = None) -> FollowSubscription:
    """A feed whose server tells, from cursor c0 on."""
    follow = FollowSubscription(cursor, on_gap, Random(1))
    follow.connected()
    answer(follow, "c0")
    return follow


def next_ask(follow: FollowSubscription) -> Ask:
    ask = follow.next_ask(0.0)
    assert ask is not None
    return ask


def answer(follow: FollowSubscription, result: Any) -> Ask:
    """Have the next request answered."""
    ask = next_ask(follow)
    follow.answered(ask, result)
    return ask


def tell(follow: FollowSubscription, cursor: str, *changes: tuple[Id, bool | None]) -> None:
    events = [[user_id, online, AT_MS, "heartbeat"] for user_id, online in changes]
    follow.told(Notification("presence", [cursor, events]))


def taken(follow: FollowSubscription) -> list[Taken]:
    """All changes that wait."""
    found = []
    while (change := follow.take()) is not None:
        found.append((change.id, change.online, change.reason))
        assert (change.at is None) == (change.reason != "heartbeat")
    return found


def reconnect_after_a_gap(follow: FollowSubscription, cursor: str) -> None:
    """The server was started again, and tells from that cursor on."""
    follow.lost(ConnectError("cut"))
    follow.connected()
    follow.refused(next_ask(follow), GapError("of another run"), 0.0)
    assert answer(follow, cursor).params == ()


def test_a_reconnect_goes_on_behind_what_was_received() -> None:
    follow = following("raise")
    assert (follow.cursor, follow.begun, follow.telling) == ("c0", True, True)
    tell(follow, "c1", (1, True))
    follow.lost(ConnectError("cut"))
    follow.connected()
    assert answer(follow, "c1").params == ("c1",)
    assert follow.cursor == "c0"
    assert taken(follow) == [(1, True, "heartbeat")]
    assert follow.cursor == "c1"


def test_a_gap_is_an_error_after_what_was_received() -> None:
    follow = following("raise")
    tell(follow, "c1", (1, True))
    follow.told(Notification("gap", ["c9", None]))
    tell(follow, "c10", (2, True))
    assert taken(follow) == [(1, True, "heartbeat")]
    with pytest.raises(GapError, match=r'follow anew, or ask for on_gap="resync"$'):
        follow.end_reached()
    assert follow.end_reached()
    assert follow.gap_count == 1


def test_after_a_gap_whoever_is_online_and_whoever_is_so_no_more_is_found_out() -> None:
    follow = following()
    tell(follow, "c1", (1, True), (2, True), (3, True), (4, None), (5, True), (6, True), (6, False))
    reconnect_after_a_gap(follow, "d0")
    assert answer(follow, ["p", [1, 7]]).params == (None, RESYNC_PAGE_IDS)
    assert answer(follow, [None, [4]]).params == ("p", RESYNC_PAGE_IDS)
    ask = next_ask(follow)
    assert (ask.method, ask.id_count) == ("status", 3)
    status = {2: Status.OFFLINE, 3: Status.UNKNOWN, 5: Status.ONLINE}
    follow.answered(ask, bytes(status[user_id] for user_id in ask.params[0]))
    assert follow.next_ask(0.0) is None
    found = taken(follow)[7:]
    assert sorted(found, key=str) == [(2, False, "known"), (3, None, "unknown"), (4, True, "known"), (7, True, "known")]
    assert (follow.cursor, follow.gap_count) == ("d0", 1)


def test_a_gap_that_is_told_is_bridged_on_the_same_connection() -> None:
    follow = following()
    follow.told(Notification("gap", ["c9", None]))
    answer(follow, [None, ["a"]])
    assert taken(follow) == [("a", True, "known")]
    assert follow.cursor == "c9"


def test_a_cursor_of_the_caller_that_is_of_no_use_tells_who_is_online() -> None:
    follow = FollowSubscription("mine", "resync", Random(1))
    follow.connected()
    follow.refused(next_ask(follow), GapError("of another run"), 0.0)
    answer(follow, "c0")
    answer(follow, [None, [1]])
    assert (follow.cursor, taken(follow), follow.cursor) == ("mine", [(1, True, "known")], "c0")


def test_there_is_no_cursor_in_the_middle_of_finding_out() -> None:
    follow = following()
    tell(follow, "c1", (1, True))
    taken(follow)
    reconnect_after_a_gap(follow, "d0")
    answer(follow, ["p", [1, 2]])
    tell(follow, "d1", (3, True))
    taken(follow)
    assert follow.cursor == "c1"
    answer(follow, [None, []])
    assert follow.cursor == "d1"


def test_who_changes_meanwhile_is_told_by_the_feed_alone() -> None:
    follow = following()
    tell(follow, "c1", (1, True), (2, True))
    reconnect_after_a_gap(follow, "d0")
    tell(follow, "d1", (1, False), (3, True))
    answer(follow, [None, [1, 3]])  # the feed has not told yet that 1 came back
    ask = answer(follow, [False])
    assert ask.params == ([2],)
    tell(follow, "d2", (1, True))
    assert taken(follow)[2:] == [
        (1, False, "heartbeat"),
        (3, True, "heartbeat"),
        (2, False, "known"),
        (1, True, "heartbeat"),
    ]


def test_who_was_told_as_online_is_not_told_so_again_for_having_been_away_in_the_gap() -> None:
    follow = following()
    tell(follow, "c1", (1, True))
    assert taken(follow) == [(1, True, "heartbeat")]
    reconnect_after_a_gap(follow, "c5")
    tell(follow, "c6", (1, True))
    assert taken(follow) == []
    tell(follow, "c7", (1, False))
    assert taken(follow) == [(1, False, "heartbeat")]


def test_what_was_found_out_is_not_told_again_by_the_feed() -> None:
    follow = following()
    tell(follow, "c1", (1, True), (2, True))
    reconnect_after_a_gap(follow, "d0")
    answer(follow, [None, [2, 3]])
    answer(follow, [False])
    tell(follow, "d1", (3, True), (1, False))  # both happened before the answers
    assert taken(follow)[2:] == [(3, True, "known"), (1, False, "known")]
    tell(follow, "d2", (3, False), (1, True), (1, False))
    assert taken(follow) == [(3, False, "heartbeat"), (1, True, "heartbeat"), (1, False, "heartbeat")]


def test_who_was_found_offline_and_then_online_may_go_offline() -> None:
    follow = following()
    tell(follow, "c1", (1, True))
    reconnect_after_a_gap(follow, "d0")
    answer(follow, [None, []])
    answer(follow, [False])
    reconnect_after_a_gap(follow, "e0")
    answer(follow, [None, [1]])
    tell(follow, "e1", (1, False))
    assert [online for _, online, _ in taken(follow)] == [True, False, True, False]


def test_finding_out_begins_anew_after_a_lost_connection_or_another_gap() -> None:
    follow = following()
    tell(follow, "c1", (1, True))
    reconnect_after_a_gap(follow, "d0")
    answer(follow, ["p", [2]])
    follow.lost(ConnectError("cut"))
    follow.connected()
    assert answer(follow, "d0").params == ("d0",)
    stale = next_ask(follow)
    assert stale.params == (None, RESYNC_PAGE_IDS)
    follow.told(Notification("gap", ["d5", None]))
    follow.answered(stale, ["p", [2, 3]])
    assert answer(follow, [None, [2, 4]]).params == (None, RESYNC_PAGE_IDS)
    answer(follow, [True])
    assert follow.next_ask(0.0) is None
    assert taken(follow) == [(1, True, "heartbeat"), (2, True, "known"), (4, True, "known")]
    assert follow.cursor == "d5"


def test_a_gap_before_the_first_cursor_is_no_endless_loop() -> None:
    follow = FollowSubscription(None, "resync", Random(1))
    follow.connected()
    follow.refused(next_ask(follow), GapError("never"), 0.0)
    with pytest.raises(GapError, match="never"):
        follow.end_reached()


def test_pages_wait_while_much_waits_to_be_given_out() -> None:
    follow = following()
    tell(follow, "c1", *[(number, True) for number in range(FOLLOW_QUEUE_CHANGES_MAX + 1)])
    follow.told(Notification("gap", ["c9", None]))
    assert (follow.wants_more, follow.next_ask(0.0)) == (False, None)
    for _ in range(FOLLOW_QUEUE_CHANGES_MAX // 2 + 1):
        follow.take()
    assert follow.wants_more
    assert next_ask(follow).method == "online"


def test_a_server_that_is_busy_or_refuses_while_it_is_asked() -> None:
    follow = following()
    follow.told(Notification("gap", ["c9", None]))
    ask = next_ask(follow)
    follow.refused(ask, Busy("much to do"), 1.0)
    assert follow.next_ask(1.0) is None
    assert follow.next_ask(2.0) is ask
    follow.refused(ask, Denied("no"), 2.0)
    with pytest.raises(Denied):
        follow.end_reached()


def test_without_resync_nothing_is_kept_of_whom_it_told() -> None:
    follow = following("raise")
    tell(follow, "c1", (1, True), (1, True))
    assert len(taken(follow)) == 2
    assert not follow._told


@pytest.mark.parametrize("params", [[], [5], [None, None]])
def test_a_gap_of_another_shape_is_a_protocol_error(params: list[Any]) -> None:
    with pytest.raises(ProtocolError):
        following().told(Notification("gap", params))


@pytest.mark.parametrize("result", [None, [], [None], [None, [1.5]], [5, [1]]])
def test_a_page_of_another_shape_is_a_protocol_error(result: Any) -> None:
    follow = following()
    follow.told(Notification("gap", ["c9", None]))
    with pytest.raises(ProtocolError):
        answer(follow, result)


def test_what_is_told_after_the_end_or_is_of_no_known_kind_is_nothing() -> None:
    follow = following()
    follow.told(Notification("weather", ["fine"]))
    follow.close()
    tell(follow, "c1", (1, True))
    follow.told(Notification("gap", []))
    assert (follow.take(), follow.end_reached()) == (None, True)

"""Replies go out in the order of their requests, whenever they are given; and what a session holds meanwhile is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presencedb.errors import Busy, Unavailable
from presencedb.limits import FRAME_BYTES_MAX, REPLIES_OWED_MAX, REQUESTS_IN_FLIGHT_MAX, WRITE_HIGH_WATER_BYTES
from presencedb.protocol.commands import COMMANDS
from presencedb.protocol.messages import Request
from presencedb.protocol.session import ServerSession
from tests.conformance import wire

UNKNOWN = f"no method 'no'; there are: {', '.join(COMMANDS)}"
BAD = "id 0 of the batch: an id is an integer or text, not nil"

SOUND, REFUSED, NOTIFIED, DROPPED = "sound", "refused", "notified", "dropped"


def is_full(session: ServerSession) -> bool:
    return session.full


def is_drained(session: ServerSession) -> bool:
    return session.drained


def taken(session: ServerSession) -> list[Request]:
    requests = []
    while (request := session.next_request()) is not None:
        requests.append(request)
    return requests


@given(st.lists(st.sampled_from([SOUND, REFUSED, NOTIFIED, DROPPED]), max_size=30), st.randoms(use_true_random=False))
def test_replies_go_out_in_order_whatever_the_order_they_are_given_in(kinds: list[str], random: st.DataObject) -> None:
    session = ServerSession()
    data, expected = b"", []
    for msgid, kind in enumerate(kinds):
        if kind is SOUND:
            data += wire.request(msgid, "status", [msgid])
            expected.append(wire.result(msgid, [None]) if msgid % 2 else wire.error(msgid, "unavailable", "later"))
        elif kind is REFUSED:
            data += wire.request(msgid, "no")
            expected.append(wire.error(msgid, "unknown_method", UNKNOWN))
        else:
            data += wire.notification("heartbeat", msgid if kind is NOTIFIED else None)
    session.receive_data(data)
    requests = taken(session)
    assert len(requests) == sum(kind in {SOUND, NOTIFIED} for kind in kinds)
    random.shuffle(requests)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    out = session.data_to_send()
    for request in requests:
        if request.msgid is None:
            session.reply(request, 0)
        elif request.msgid % 2:
            session.reply_statuses(request, b"\x02")
        else:
            session.fail(request, Unavailable("later"))
        out += session.data_to_send()
        assert b"".join(expected).startswith(out)
    assert out == b"".join(expected)
    assert is_drained(session)
    assert session.bad_notifications == kinds.count(DROPPED)


def test_a_reply_waits_for_the_earlier_ones_and_not_for_later_ones() -> None:
    session = ServerSession()
    session.receive_data(
        b"".join(
            [wire.request(1, "ping"), wire.request(2, "status", None), wire.request(3, "ping"), wire.request(4, "ping")]
        )
    )
    first, third, fourth = taken(session)
    session.reply(third, "third")
    assert session.data_to_send() == b""
    assert not is_drained(session)
    session.reply(first, "first")
    assert session.data_to_send() == (wire.result(1, "first") + wire.error(2, "bad_request", BAD) + wire.result(3, "third"))
    session.push(b"pushed")
    session.reply(fourth, "fourth")
    assert session.data_to_send() == b"pushed" + wire.result(4, "fourth")
    assert is_drained(session)
    assert session.data_to_send() == b""


def test_a_frame_that_ends_the_session_is_answered_after_the_earlier_requests() -> None:
    session = ServerSession()
    session.receive_data(wire.request(1, "ping") + wire.value([0, 2, "ping"]) + wire.request(3, "ping"))
    (request,) = taken(session)
    assert session.protocol_error is not None
    assert session.data_to_send() == b""
    assert not is_drained(session)
    session.reply(request, "pong")
    assert session.data_to_send() == (
        wire.result(1, "pong") + wire.error(2, "bad_request", "a request is [0, msgid, method, params]")
    )
    assert is_drained(session)
    session.receive_data(wire.request(4, "ping"))
    assert session.next_request() is None
    assert session.data_to_send() == b""


# --- what a session holds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", [wire.request(7, "ping"), wire.request(7, "no"), wire.request(7, "status", None)])
def test_a_client_that_pipelines_for_ever_without_an_answer_is_held_back(frame: bytes) -> None:
    session = ServerSession()
    session.receive_data(wire.request(0, "ping"))
    (first,) = taken(session)
    waiting = [first]
    for _ in range(20):
        session.receive_data(frame * 1_000)
        waiting += taken(session)
        # Whoever owns the socket stops reading here; this one does not, and the queue stays as it is.
        session.data_to_send()
    assert is_full(session)
    assert len(waiting) <= REQUESTS_IN_FLIGHT_MAX
    assert session.data_to_send() == b""
    replied = 0
    for request in waiting:
        session.reply(request, "pong")
        replied += len(session.data_to_send())
    # At most one reply a place in the queue, and none of them long.
    assert replied <= REPLIES_OWED_MAX * (len(UNKNOWN) + 40)
    assert not is_full(session)


def test_what_was_held_back_is_taken_up_without_more_bytes() -> None:
    session = ServerSession()
    count = 3 * REPLIES_OWED_MAX
    session.receive_data(b"".join(wire.request(msgid, "ping") for msgid in range(count)))
    out = b""
    waiting = taken(session)
    while waiting:
        assert len(waiting) <= REQUESTS_IN_FLIGHT_MAX
        for request in waiting:
            session.reply(request, "pong")
        out += session.data_to_send()
        waiting = taken(session)
    assert out.count(b"pong") + out.count(b"busy") == count
    assert is_drained(session)


def test_output_that_nobody_takes_holds_requests_back() -> None:
    session = ServerSession()
    page = ["x" * 250] * 1_000
    session.receive_data(wire.request(7, "online", None, 1_000) * 1_000)
    answered = 0
    while (request := session.next_request()) is not None:
        session.reply(request, page)
        answered += 1
    assert is_full(session)
    size = len(session.data_to_send())
    assert WRITE_HIGH_WATER_BYTES <= size < WRITE_HIGH_WATER_BYTES + len(wire.result(7, page))
    assert not is_full(session)
    assert session.next_request() is not None
    assert answered < 10


def test_events_that_nobody_takes_hold_requests_back() -> None:
    session = ServerSession()
    session.push(b"x" * WRITE_HIGH_WATER_BYTES)
    session.receive_data(wire.request(7, "ping"))
    assert session.next_request() is None
    assert is_full(session)
    session.data_to_send()
    assert session.next_request() is not None


def test_answers_held_by_order_count_as_output() -> None:
    session = ServerSession()
    session.receive_data(wire.request(7, "ping") * 3)
    first, second = session.next_request(), session.next_request()
    assert first is not None
    assert second is not None
    session.reply(second, "x" * WRITE_HIGH_WATER_BYTES)
    assert session.data_to_send() == b""
    assert session.next_request() is None
    assert is_full(session)
    session.reply(first, "pong")
    session.data_to_send()
    assert session.next_request() is not None


@pytest.mark.parametrize("frame", [wire.notification("no"), wire.request(7, "no"), wire.notification("heartbeat", True)])
def test_one_call_refuses_a_bounded_number_of_frames(frame: bytes) -> None:
    session = ServerSession()
    count = 5 * REQUESTS_IN_FLIGHT_MAX
    session.receive_data(frame * count + wire.request(1, "ping"))
    calls = 0
    while (request := session.next_request()) is None:
        assert is_full(session)
        session.data_to_send()
        calls += 1
    assert request.msgid == 1
    assert calls >= 5


def test_a_busy_request_is_not_served() -> None:
    session = ServerSession()
    session.receive_data(wire.request(1, "ping") * REQUESTS_IN_FLIGHT_MAX + wire.request(2, "heartbeat", 1))
    assert len(taken(session)) == REQUESTS_IN_FLIGHT_MAX


def test_notifications_are_not_in_flight() -> None:
    session = ServerSession()
    session.receive_data(wire.notification("heartbeat", 1) * (2 * REPLIES_OWED_MAX))
    assert len(taken(session)) == 2 * REPLIES_OWED_MAX
    assert is_drained(session)


def test_a_failed_answer_leaves_nothing_in_the_next_one() -> None:
    session = ServerSession()
    session.receive_data(wire.request(1, "ping") + wire.request(2, "ping"))
    first, second = taken(session)
    with pytest.raises((TypeError, ValueError)):
        session.reply(first, ["half of this", object()])
    session.fail(first, Busy("once more"))
    session.reply(second, "pong")
    assert session.data_to_send() == wire.error(1, "busy", "once more") + wire.result(2, "pong")


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 65_535, 65_536, 100_000])
def test_statuses_of_any_number(count: int) -> None:
    session = ServerSession()
    session.receive_data(wire.request(300, "status", [1]))
    (request,) = taken(session)
    session.reply_statuses(request, bytes(index % 3 for index in range(count)))
    assert session.data_to_send() == wire.result(300, [(False, True, None)[index % 3] for index in range(count)])
    assert count < FRAME_BYTES_MAX

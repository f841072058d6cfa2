"""The client's end: requests go out as they should, answers come back to whom they belong, nonsense is refused for good."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presencedb.errors import ERRORS, ProtocolError, UnknownError
from presencedb.limits import MSGID_MAX
from presencedb.protocol.commands import COMMANDS
from presencedb.protocol.messages import Notification, Response
from presencedb.protocol.session import ClientSession, ServerSession
from tests.conformance import wire
from tests.conformance.wire import Raw, unhex
from tests.protocol import frames


def message_of(data: bytes) -> Response | Notification:
    session = ClientSession()
    session.receive_data(data)
    message = session.next_message()
    assert message is not None
    assert session.next_message() is None
    return message


def test_requests_and_notifications_go_out_in_order_with_numbers_from_0() -> None:
    session = ClientSession()
    assert session.request("status", ([42, "alice"],)) == 0
    session.notify("heartbeat", (7, {"age_ms": 5}))
    assert session.request("ping", ()) == 1
    assert session.data_to_send() == (
        wire.request(0, "status", [42, "alice"]) + wire.notification("heartbeat", 7, {"age_ms": 5}) + wire.request(1, "ping")
    )
    assert session.data_to_send() == b""


def test_numbers_start_again_after_the_last() -> None:
    session = ClientSession()
    session._next_msgid = MSGID_MAX
    assert session.request("ping", ()) == MSGID_MAX
    assert session.request("ping", ()) == 0
    assert session.data_to_send() == wire.request(MSGID_MAX, "ping") + wire.request(0, "ping")


@given(
    st.sampled_from(list(COMMANDS.values())).flatmap(lambda command: st.tuples(st.just(command), frames.parameters(command)))
)
def test_what_a_client_sends_a_server_takes(given_request: tuple[Any, list[Any]]) -> None:
    command, params = given_request
    client, server = ClientSession(), ServerSession()
    msgid = client.request(command.name, params)
    server.receive_data(client.data_to_send())
    request = server.next_request()
    assert request is not None
    assert (request.command, request.msgid) == (command, msgid)
    server.reply(request, params)
    client.receive_data(server.data_to_send())
    response = client.next_message()
    assert isinstance(response, Response)
    assert (response.msgid, response.error, response.result) == (msgid, None, params)


def test_a_request_that_cannot_be_written_leaves_nothing_in_the_next_one() -> None:
    session = ClientSession()
    with pytest.raises((TypeError, ValueError)):
        session.request("status", ("half", object()))
    with pytest.raises((TypeError, ValueError)):
        session.notify("heartbeat", ("\ud800",))
    msgid = session.request("ping", ())
    assert session.data_to_send() == wire.request(msgid, "ping")


@pytest.mark.parametrize(
    "result", [None, True, 0, 2**64 - 1, "pong", [], [None, True, False], {"a": {"b": [1.5]}}], ids=repr
)
def test_a_result_is_given_with_its_msgid(result: Any) -> None:
    assert message_of(wire.result(7, result)) == Response(7, None, result)


@pytest.mark.parametrize("code", ERRORS)
def test_an_error_is_given_as_its_class(code: str) -> None:
    response = message_of(wire.error(7, code, "what was wrong"))
    assert isinstance(response, Response)
    assert type(response.error) is ERRORS[code]
    assert (response.msgid, response.error.message, response.result) == (7, "what was wrong", None)


@pytest.mark.parametrize("code", ["", "not_yet_invented", "BUSY", "Error"])
def test_an_error_code_of_a_later_version_is_no_protocol_error(code: str) -> None:
    response = message_of(wire.error(7, code, "what was wrong"))
    assert isinstance(response, Response)
    assert isinstance(response.error, UnknownError)
    assert response.error.message == f"{code}: what was wrong"


def test_a_response_to_a_request_that_was_never_made_is_passed_through() -> None:
    session = ClientSession()
    assert session.request("ping", ()) == 0
    session.receive_data(wire.result(4_000_000_000, "pong") + wire.result(0, "pong") + wire.result(0, "again"))
    assert session.next_message() == Response(4_000_000_000, None, "pong")
    assert session.next_message() == Response(0, None, "pong")
    assert session.next_message() == Response(0, None, "again")


@pytest.mark.parametrize("method", ["presence", "gap", "not_yet_invented"])
def test_a_notification_is_passed_through_whatever_its_name(method: str) -> None:
    assert message_of(wire.notification(method, "c", [[1, True, 5, "heartbeat"]])) == Notification(
        method, ["c", [[1, True, 5, "heartbeat"]]]
    )


@given(frames.malformed_answers(), st.lists(frames.server_messages(), max_size=3))
def test_what_is_no_answer_is_refused_for_good(wrong: bytes, before: list[bytes]) -> None:
    session = ClientSession()
    session.receive_data(b"".join(before) + wrong + wire.result(1, "pong"))
    for _ in before:
        assert session.next_message() is not None
    for _ in range(3):
        with pytest.raises(ProtocolError):
            session.next_message()
        session.receive_data(wire.result(2, "pong"))


@pytest.mark.parametrize(
    "wrong",
    [
        wire.value([1, 2**32, None, 0]),
        wire.value([1, -1, None, 0]),
        wire.value([1, True, None, 0]),
        wire.value([1, 0, "busy", None]),
        wire.value([1, 0, {"code": "busy"}, None]),
        wire.value([1, 0, ["busy"], None]),
        wire.value([1, 0, [b"busy", "text"], None]),
        wire.value([1, 0, ["busy", "text"], 0]),
        wire.value([1, 0, None]),
        wire.value([1, 0, None, 0, 0]),
        wire.value([0, 0, "ping", []]),
        wire.value([2, "presence", None]),
        wire.value([2, b"presence", []]),
        wire.value([3, "presence", []]),
        wire.value([1.0, 0, None, 0]),
        wire.value([False, 0, None, 0]),
        wire.value("HTTP/1.1 400 Bad Request"),
        wire.value(Raw(unhex("91 d6 ff 00 00 00"))) + b"\xc1",
        b"HTTP/1.1 400 Bad Request\r\n",
    ],
    ids=lambda data: data.hex(" "),
)
def test_answers_of_the_wrong_shape(wrong: bytes) -> None:
    session = ClientSession()
    session.receive_data(wrong)
    with pytest.raises(ProtocolError, match="the server's answer is not understood"):
        session.next_message()

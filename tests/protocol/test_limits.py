"""Every limit of the wire: at it and below it all is well, above it there is an error that names the limit and the value."""

from __future__ import annotations

from typing import Any

import pytest

from presencedb import limits
from presencedb.protocol.commands import COMMANDS
from presencedb.protocol.session import ServerSession
from tests.conformance import wire
from tests.protocol.driving import serve

PONG = wire.result(8, 0)


def accepted(method: str, *params: Any) -> bool:
    """Whether the request is taken; the session goes on either way."""
    served = serve([wire.request(7, method, *params) + wire.request(8, "ping")])
    assert served.protocol_error is None
    assert served.out.endswith(PONG)
    return method in [name for name, *_ in served.requests]


def error_of(method: str, *params: Any) -> bytes:
    """The whole reply to a request that is refused; the session goes on."""
    assert not accepted(method, *params)
    return serve([wire.request(7, method, *params)]).out


def refused(code: str, message: str) -> bytes:
    return wire.error(7, code, message)


# --- a frame ---------------------------------------------------------------------------------------------------------


def frame_of(size: int) -> bytes:
    """A sound request of exactly this many bytes."""
    texts = ["x" * 255] * 16_200
    smallest = len(wire.request(7, "status", texts))
    frame = wire.request(7, "status", texts + [1] * (size - smallest))
    assert len(frame) == size
    return frame


@pytest.mark.parametrize("below", [1, 0])
@pytest.mark.parametrize("piece_bytes", [limits.FRAME_BYTES_MAX + 1, limits.READ_BUFFER_BYTES])
def test_a_frame_up_to_its_limit_is_taken(below: int, piece_bytes: int) -> None:
    data = frame_of(limits.FRAME_BYTES_MAX - below) + wire.request(8, "ping")
    served = serve(data[start : start + piece_bytes] for start in range(0, len(data), piece_bytes))
    assert [name for name, *_ in served.requests] == ["status", "ping"]
    assert served.protocol_error is None


@pytest.mark.parametrize("piece_bytes", [limits.FRAME_BYTES_MAX + 1, limits.READ_BUFFER_BYTES])
def test_a_frame_one_byte_above_its_limit_ends_the_session(piece_bytes: int) -> None:
    data = wire.request(6, "ping") + frame_of(limits.FRAME_BYTES_MAX + 1) + wire.request(8, "ping")
    served = serve(data[start : start + piece_bytes] for start in range(0, len(data), piece_bytes))
    message = f"a frame has at most {limits.FRAME_BYTES_MAX} bytes, this one has more"
    assert served.out == wire.result(6, 0) + refused("too_large", message)
    assert served.protocol_error == message


# --- a batch ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["heartbeat", "offline", "status", "last_seen"])
def test_ids_of_a_batch(method: str) -> None:
    most = limits.IDS_PER_FRAME_MAX
    assert accepted(method, [1] * (most - 1))
    assert accepted(method, [1] * most)
    assert error_of(method, [1] * (most + 1)) == refused("too_large", "a batch has at most 100000 ids, not 100001")


def test_bytes_of_an_id() -> None:
    most = limits.ID_TEXT_BYTES_MAX
    assert accepted("status", "a" * (most - 1))
    assert accepted("status", "a" * most)
    assert accepted("status", "é" * (most // 2) + "a")
    message = "id 0 of the batch: a text id has between 1 and 255 bytes, not 256"
    assert error_of("status", "a" * (most + 1)) == refused("bad_request", message)
    assert error_of("status", "é" * (most // 2 + 1)) == refused("bad_request", message)


def test_an_integer_id() -> None:
    assert accepted("status", limits.ID_INT_MAX)
    assert accepted("status", 0)
    # MessagePack has no integer above 2^64-1, so only the lower end can be passed.
    message = "id 0 of the batch: an integer id is between 0 and 18446744073709551615, not -1"
    assert error_of("status", -1) == refused("bad_request", message)


# --- parameters and options ------------------------------------------------------------------------------------------


def test_bytes_of_a_cursor() -> None:
    most = limits.CURSOR_BYTES_MAX
    for method, rest in (("online", [1]), ("follow", [])):
        assert accepted(method, "c" * (most - 1), *rest)
        assert accepted(method, "c" * most, *rest)
        assert accepted(method, "é" * (most // 2), *rest)
        assert error_of(method, "c" * (most + 1), *rest) == refused("too_large", "a cursor has at most 4096 bytes, not 4097")
        assert error_of(method, "é" * (most // 2) + "c", *rest) == refused(
            "too_large", "a cursor has at most 4096 bytes, not 4097"
        )


def test_users_of_a_page() -> None:
    most = limits.SCAN_LIMIT_MAX
    for limit in (1, 2, most - 1, most):
        assert accepted("online", None, limit)
    for limit in (0, -1, most + 1, 2**64 - 1):
        message = f"limit is an integer between 1 and 10000, not {limit}"
        assert error_of("online", None, limit) == refused("bad_request", message)


def test_the_number_of_options() -> None:
    many = {f"option{index}": 0 for index in range(limits.OPTIONS_MAX)}
    # No command takes as many as the limit, so at the limit it is their names that are refused.
    assert error_of("status", 1, many) == refused("bad_request", "status has no such option; it takes: epoch")
    one_more = many | {"epoch": 1}
    assert error_of("status", 1, one_more) == refused("too_large", "a request has at most 16 options, not 17")
    far_more = {f"option{index}": 0 for index in range(10_000)}
    assert error_of("status", 1, far_more) == refused("too_large", "a request has at most 16 options, not 10000")


@pytest.mark.parametrize("name", ["token", "client", "version"])
def test_bytes_of_an_option_that_is_text(name: str) -> None:
    most = limits.OPTION_TEXT_BYTES_MAX
    assert accepted("hello", {name: "t" * (most - 1)})
    assert accepted("hello", {name: "t" * most})
    assert error_of("hello", {name: "t" * (most + 1)}) == refused("too_large", f"{name} has at most 8192 bytes, not 8193")


@pytest.mark.parametrize(
    ("name", "method", "most"),
    [
        ("age_ms", "heartbeat", limits.AGE_MS_MAX),
        ("age_ms", "offline", limits.AGE_MS_MAX),
        ("grace_ms", "offline", limits.GRACE_MS_MAX),
        ("epoch", "heartbeat", 2**63 - 1),
        ("epoch", "offline", 2**63 - 1),
        ("epoch", "status", 2**63 - 1),
        ("epoch", "last_seen", 2**63 - 1),
    ],
)
def test_integers_among_the_options(name: str, method: str, most: int) -> None:
    for value in (0, 1, most - 1, most):
        assert accepted(method, 1, {name: value})
    for value in (-1, most + 1):
        message = f"{name} is an integer between 0 and {most}, not {value}"
        assert error_of(method, 1, {name: value}) == refused("bad_request", message)


@pytest.mark.parametrize(
    ("method", "before"), [("count", []), ("online", [None, 1]), ("pages_out", [None, 1]), ("missed", ["n1"])]
)
def test_slots(method: str, before: list[Any]) -> None:
    most = limits.SLOT_COUNT
    assert accepted(method, *before, {"slots": list(range(most))})
    assert accepted(method, *before, {"slots": [most - 1]})
    for slot in (-1, most):
        message = f"a slot is an integer between 0 and 16383, not {slot}"
        assert error_of(method, *before, {"slots": [slot]}) == refused("bad_request", message)
    too_many = [*range(most), 0]
    assert error_of(method, *before, {"slots": too_many}) == refused("too_large", "slots has at most 16384 slots, not 16385")


@pytest.mark.parametrize("method", ["heartbeat", "offline"])
def test_members_that_were_missed(method: str) -> None:
    most = limits.REPLICAS_MAX
    assert accepted(method, 1, {"missed": []})
    assert accepted(method, 1, {"missed": ["n"] * most})
    message = f"missed has at most {most} members, not {most + 1}"
    assert error_of(method, 1, {"missed": ["n"] * (most + 1)}) == refused("too_large", message)


def test_bytes_of_a_member() -> None:
    most = limits.MEMBER_ID_BYTES_MAX
    kinds = "letters, digits, dots, dashes and underscores"
    message = f"a member is named by 1 to {most} {kinds}"
    assert accepted("heartbeat", 1, {"missed": ["m" * most]})
    assert error_of("heartbeat", 1, {"missed": ["m" * (most + 1)]}) == refused("bad_request", message)
    assert accepted("missed", "m" * most)
    assert error_of("missed", "m" * (most + 1)) == refused("bad_request", message)


def test_every_option_of_every_command_is_tested_here() -> None:
    assert {name for command in COMMANDS.values() for name in command.options} == {
        "age_ms",
        "client",
        "each",
        "epoch",
        "forwarded",
        "grace_ms",
        "missed",
        "slots",
        "token",
        "version",
    }


# --- requests in flight ----------------------------------------------------------------------------------------------


def test_requests_in_flight() -> None:
    most = limits.REQUESTS_IN_FLIGHT_MAX
    session = ServerSession()
    session.receive_data(b"".join(wire.request(msgid, "ping") for msgid in range(most + 2)))
    requests = []
    while (request := session.next_request()) is not None:
        requests.append(request)
    assert [request.msgid for request in requests] == list(range(most))
    for request in requests:
        session.reply(request, "pong")
    busy = [
        wire.error(most, "busy", "at most 1024 requests in flight, 1024 are waiting"),
        wire.error(most + 1, "busy", "at most 1024 requests in flight, 1025 are waiting"),
    ]
    assert session.data_to_send() == b"".join([*(wire.result(msgid, "pong") for msgid in range(most)), *busy])
    assert session.drained
    session.receive_data(wire.request(9, "ping"))
    assert session.next_request() is not None

"""What a request is, to the bit: shapes, kinds, ids, parameters and options; and what becomes of one that is not."""

from __future__ import annotations

from typing import Any

import pytest

from presencedb.errors import Busy
from presencedb.protocol.commands import COMMANDS
from presencedb.protocol.messages import Request
from presencedb.protocol.params import Options
from presencedb.protocol.session import ServerSession
from tests.conformance import wire
from tests.conformance.wire import Pairs, Raw, unhex
from tests.protocol.driving import Served, serve, whole
from tests.protocol.frames import array_headers, long_forms

NOT_RPC = "not a MessagePack-RPC request or notification"
SHAPE = "a request is [0, msgid, method, params]"
MEMBER_NAMES = "by 1 to 64 letters, digits, dots, dashes and underscores"


def take(data: bytes) -> Request:
    """The one sound request in these bytes."""
    session = ServerSession()
    session.receive_data(data)
    request = session.next_request()
    assert request is not None, session.data_to_send()
    assert session.next_request() is None
    assert session.protocol_error is None
    return request


def refusal(*params: Any, method: str = "status") -> str:
    """The message of the error with code `bad_request` that these parameters get, the session being unharmed."""
    served = serve([wire.request(7, method, *params) + wire.request(8, "ping")])
    assert served.protocol_error is None
    assert served.out.endswith(wire.result(8, 0))
    answer = served.out.removesuffix(wire.result(8, 0))
    prefix = unhex("94 01 07 92 ab") + b"bad_request"
    assert answer.startswith(prefix), answer
    size = answer[len(prefix)]
    text = answer[len(prefix) + (1 if size < 0xC0 else 2) : -1]
    assert answer == wire.error(7, "bad_request", text.decode())
    return text.decode()


# --- shape -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", array_headers(4), ids=bytes.hex)
@pytest.mark.parametrize("kind", long_forms(0), ids=bytes.hex)
@pytest.mark.parametrize("msgid", long_forms(5), ids=bytes.hex)
def test_any_legal_form_of_a_header_or_number_will_do(head: bytes, kind: bytes, msgid: bytes) -> None:
    request = take(head + kind + msgid + wire.value("status") + wire.value([[1]]))
    assert (request.command, request.msgid, list(request.ids)) == (COMMANDS["status"], 5, [1])


@pytest.mark.parametrize("msgid", [0, 1, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000, 2**31, 2**32 - 1])
def test_a_msgid_has_32_bits(msgid: int) -> None:
    assert take(wire.request(msgid, "ping")).msgid == msgid
    served = serve(whole(wire.request(msgid, "ping") + wire.request(msgid, "nothing")))
    assert served.out.startswith(wire.result(msgid, 0) + unhex("94 01") + wire.value(msgid))


@pytest.mark.parametrize(
    "message",
    [
        None,
        0,
        "ping",
        {},
        [],
        [0],
        [2],
        [1, 0, None, None],
        [3, 0, "ping", []],
        [-1, 0, "ping", []],
        [False, 0, "ping", []],
        [0.0, 0, "ping", []],
        ["0", 0, "ping", []],
        [None, 0, "ping", []],
        [0, True, "ping", []],
        [0, False, "ping", []],
        [0, 1.0, "ping", []],
        [0, "1", "ping", []],
        [0, None, "ping", []],
        [0, -1, "ping", []],
        [0, 2**32, "ping", []],
        [0, 2**64 - 1, "ping", []],
        [2, "ping"],
        [2, "ping", [], []],
        [2, 7, []],
        [2, b"ping", []],
        [2, "ping", {}],
        [2, "ping", None],
        [2.0, "heartbeat", [1]],
    ],
    ids=repr,
)
def test_what_is_no_request_and_no_notification_ends_the_session_without_a_word(message: Any) -> None:
    served = serve(whole(wire.request(1, "ping") + wire.value(message) + wire.request(2, "ping")))
    assert served.out == wire.result(1, 0)
    assert served.protocol_error == NOT_RPC


@pytest.mark.parametrize(
    "message",
    [
        [0, 9],
        [0, 9, "ping"],
        [0, 9, "ping", [], []],
        [0, 9, 7, []],
        [0, 9, b"ping", []],
        [0, 9, None, []],
        [0, 9, "ping", None],
        [0, 9, "ping", {}],
        [0, 9, "ping", 1],
    ],
    ids=repr,
)
def test_a_request_of_the_wrong_shape_is_answered_and_ends_the_session(message: Any) -> None:
    served = serve(whole(wire.value(message) + wire.request(2, "ping")))
    assert served == Served(out=wire.error(9, "bad_request", SHAPE), protocol_error=SHAPE)


@pytest.mark.parametrize(
    "before", [unhex("94 00 09"), unhex("94 00 cc 09"), unhex("dc 00 04 00 ce 00 00 00 09")], ids=bytes.hex
)
def test_bytes_that_are_no_messagepack_are_answered_where_the_msgid_is_known(before: bytes) -> None:
    message = "not MessagePack, or nested too deeply"
    served = serve(whole(before + b"\xc1" + wire.request(2, "ping")))
    assert served == Served(out=wire.error(9, "bad_request", message), protocol_error=message)


@pytest.mark.parametrize("data", ["c1", "94 c1", "94 00 c1", "94 02 c1", "93 00 09 c1", "94 00 c3 c1", "93 02 c1"])
def test_bytes_that_are_no_messagepack_are_not_answered_where_it_is_not(data: str) -> None:
    assert serve(whole(unhex(data))) == Served(protocol_error="not MessagePack, or nested too deeply")


@pytest.mark.parametrize("method", ["", "PING", "ping ", "watcher", "hello\0", "_", "é", "heartbeats"])
def test_an_unknown_method_is_named_and_the_known_ones_are_told(method: str) -> None:
    served = serve(whole(wire.request(3, method) + wire.request(4, "ping")))
    message = f"no method {method!r}; there are: {', '.join(COMMANDS)}"
    assert served.out == wire.error(3, "unknown_method", message) + wire.result(4, 0)


@pytest.mark.parametrize(
    ("method", "shown"),
    [
        (Raw(wire.text(b"\xff\xfe")), "'??'"),
        (Raw(wire.text(b"a\xed\xa0\x80")), "'a???'"),
        ("m" * 64, repr("m" * 64)),
        ("m" * 65, repr("m" * 64)),
        ("é" * 64, repr("é" * 32)),
        ("a" + "é" * 64, repr("a" + "é" * 31 + "\ufffd")),
        ("\x1b[31m\n", r"'\x1b[31m\n'"),
    ],
    ids=repr,
)
def test_of_an_unknown_method_64_bytes_are_repeated_made_harmless(method: Any, shown: str) -> None:
    served = serve(whole(wire.value([0, 3, method, []])))
    assert served.out == wire.error(3, "unknown_method", f"no method {shown}; there are: {', '.join(COMMANDS)}")


# --- ids -------------------------------------------------------------------------------------------------------------


def test_ids_come_as_an_array_or_as_one_id() -> None:
    assert list(take(wire.request(1, "status", 42)).ids) == [42]
    assert list(take(wire.request(1, "status", "alice")).ids) == ["alice"]
    assert list(take(wire.request(1, "status", [])).ids) == []
    assert list(take(wire.request(1, "status", [1, "1", "01", "a", 1])).ids) == [1, 1, "01", "a", 1]
    assert list(take(wire.request(1, "status", [2**64 - 1, str(2**64)])).ids) == [2**64 - 1, str(2**64)]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (None, "an id is an integer or text, not nil"),
        (True, "an id is an integer or text, not a boolean"),
        (1.0, "an id is an integer or text, not a float"),
        (Raw(unhex("ca 3f 80 00 00")), "an id is an integer or text, not a float"),
        (b"42", "an id is an integer or text, not binary data"),
        ([1], "an id is an integer or text, not an array"),
        ({"a": 1}, "an id is an integer or text, not a map"),
        (Raw(unhex("d6 ff 00 00 00 00")), "an id is an integer or text, not Timestamp"),
        (-1, "an integer id is between 0 and 18446744073709551615, not -1"),
        (-(2**63), "an integer id is between 0 and 18446744073709551615, not -9223372036854775808"),
        ("", "a text id has between 1 and 255 bytes, not 0"),
        ("a" * 256, "a text id has between 1 and 255 bytes, not 256"),
        ("é" * 128, "a text id has between 1 and 255 bytes, not 256"),
        ("a\0", "a text id has no NUL byte"),
        (Raw(wire.text(b"\xff")), "a text id is valid UTF-8"),
        (Raw(wire.text(b"\xed\xa0\x80")), "a text id is valid UTF-8"),
    ],
    ids=repr,
)
def test_what_is_no_id_is_refused_by_its_place_and_nothing_of_the_batch_is_taken(wrong: Any, why: str) -> None:
    assert refusal([wrong]) == f"id 0 of the batch: {why}"
    assert refusal([1, "a", wrong, 3]) == f"id 2 of the batch: {why}"
    assert refusal([*range(20), wrong]) == f"id 20 of the batch: {why}"


@pytest.mark.parametrize(
    "wrong", ["d7 ff ff ff ff ff ff ff ff ff", "c7 05 ff 00 00 00 00 00", "c7 0c ff ff ff ff ff" + " 00" * 8]
)
def test_a_timestamp_that_cannot_be_is_refused_and_harms_nothing(wrong: str) -> None:
    assert refusal([1, Raw(unhex(wrong))]).startswith("a value cannot be read: ")
    served = serve([wire.notification("heartbeat", Raw(unhex(wrong))) + wire.request(8, "ping")])
    assert (served.out, served.bad_notifications, served.protocol_error) == (wire.result(8, 0), 1, None)
    assert serve([wire.value([1, Raw(unhex(wrong))])]).protocol_error is not None


@pytest.mark.parametrize("code", [-128, -2, 0, 127])
def test_an_extension_value_is_refused(code: int) -> None:
    wrong = Raw(wire.extension(code, b"abc"))
    assert refusal([wrong]) == f"a request has no extension values, but this one has one of type {code}"
    assert refusal({"epoch": wrong}).endswith(f"of type {code}")


def test_a_claim_of_the_longest_extension_is_refused_whatever_is_made_of_it() -> None:
    served = serve([wire.request(7, "status", Raw(unhex("c9 ff ff ff ff 05"))) + wire.request(8, "ping")])
    assert served.requests in ([], [("ping", 8, [], None, 0, describe_no_options())])


# --- parameters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "params", "message"),
    [
        ("ping", [1], "ping takes [], not 1 positional parameters"),
        ("status", [], "status takes [ids, {epoch?}], not 0 positional parameters"),
        ("status", [1, 2], "status takes [ids, {epoch?}], not 2 positional parameters"),
        ("status", [{"epoch": 1}], "status takes [ids, {epoch?}], not 0 positional parameters"),
        ("status", [{"epoch": 1}, 1], "status takes [ids, {epoch?}], not 2 positional parameters"),
        ("online", [None], "online takes [cursor, limit, {slots?}], not 1 positional parameters"),
        ("online", [7, 1], "a cursor is text or nil"),
        ("online", [b"c", 1], "a cursor is text or nil"),
        ("online", [Raw(wire.text(b"\xff")), 1], "a cursor is valid UTF-8"),
        ("online", [None, None], "limit is an integer between 1 and 10000"),
        ("online", [None, True], "limit is an integer between 1 and 10000"),
        ("online", [None, 10.0], "limit is an integer between 1 and 10000"),
        ("online", [None, "10"], "limit is an integer between 1 and 10000"),
        ("follow", [None, None], "follow takes [cursor?], not 2 positional parameters"),
        ("follow", [1], "a cursor is text or nil"),
        ("info", [None], "info takes [], not 1 positional parameters"),
    ],
    ids=repr,
)
def test_parameters_of_the_wrong_number_or_kind(method: str, params: list[Any], message: str) -> None:
    assert refusal(*params, method=method) == message


def test_cursor_and_limit_arrive() -> None:
    request = take(wire.request(1, "online", "abc", 10))
    assert (request.cursor, request.limit) == ("abc", 10)
    assert take(wire.request(1, "online", None, 10)).cursor is None
    assert take(wire.request(1, "follow")).cursor is None
    assert take(wire.request(1, "follow", None)).cursor is None
    assert take(wire.request(1, "follow", "")).cursor == ""
    assert take(wire.request(1, "follow", {})).cursor is None


# --- options ---------------------------------------------------------------------------------------------------------


def describe_no_options() -> dict[str, Any]:
    return {name: getattr(Options(), name) for name in Options.__slots__}


def test_options_arrive() -> None:
    assert take(wire.request(1, "heartbeat", 1)).options == Options()
    assert take(wire.request(1, "heartbeat", 1, {})).options == Options()
    assert take(wire.request(1, "heartbeat", 1, {"age_ms": 5, "epoch": 3})).options == Options(age_ms=5, epoch=3)
    assert take(wire.request(1, "offline", 1, {"grace_ms": 7, "age_ms": 0})).options == Options(grace_ms=7)
    assert take(wire.request(1, "count", {"slots": [3, 1]})).options == Options(slots=(3, 1))
    assert take(wire.request(1, "count", {"slots": []})).options == Options(slots=())
    assert take(wire.request(1, "offline", 1, {"missed": ["n2", "a.b-c_d"]})).options == Options(missed=("n2", "a.b-c_d"))
    assert take(wire.request(1, "offline", 1, {"missed": [], "forwarded": False})).options == Options()
    assert take(wire.request(1, "heartbeat", 1, {"forwarded": True})).options == Options(forwarded=True)
    assert take(wire.request(1, "heartbeat", 1, {"each": True})).options == Options(each=True)
    options = take(wire.request(1, "hello", {"token": "secret", "client": "é", "version": ""})).options
    assert options == Options(token="secret", client="é", version="")


def test_a_member_arrives() -> None:
    assert take(wire.request(1, "missed", "n2")).member == "n2"
    assert take(wire.request(1, "missed", "n2", {"slots": [5]})).options == Options(slots=(5,))
    assert take(wire.request(1, "status", 1)).member == ""


@pytest.mark.parametrize("member", [None, 1, b"n1", "", "é", "-n1", "n 1", "n1\n", "n1/", ["n1"]])
def test_what_is_no_member(member: Any) -> None:
    assert refusal(member, method="missed") == f"a member is named {MEMBER_NAMES}"


def test_an_unset_option_is_not_shared_with_another_request() -> None:
    first, second = take(wire.request(1, "ping")), take(wire.request(2, "ping"))
    first.options.age_ms = 9
    assert second.options == Options()


@pytest.mark.parametrize(
    ("method", "params", "message"),
    [
        ("status", [1, {"age_ms": 1}], "status has no such option; it takes: epoch"),
        (
            "heartbeat",
            [1, {"grace_ms": 1}],
            "heartbeat has no such option; it takes: age_ms, epoch, missed, forwarded, each",
        ),
        ("ping", [{"token": "a"}], "ping has no such option; it takes: none"),
        ("status", [1, {"": 1}], "status has no such option; it takes: epoch"),
        ("status", [1, {"Epoch": 1}], "status has no such option; it takes: epoch"),
        ("status", [1, {"__slots__": 1}], "status has no such option; it takes: epoch"),
        ("status", [1, Pairs(((Raw(wire.text(b"\xff")), 1),))], "status has no such option; it takes: epoch"),
        ("status", [1, Pairs((("epoch", 1), ("epoch", 1)))], "a map has a key twice"),
        ("status", [1, Pairs(((1, 1),))], "the keys of a map are text"),
        ("status", [1, Pairs(((None, 1),))], "the keys of a map are text"),
        ("status", [1, Pairs(((b"epoch", 1),))], "the keys of a map are text"),
        ("status", [1, Pairs((([], 1),))], "the keys of a map are text"),
        ("status", [1, Pairs((({}, 1),))], "the keys of a map are text"),
        ("status", [1, {"epoch": None}], "epoch is an integer between 0 and 9223372036854775807"),
        ("status", [1, {"epoch": True}], "epoch is an integer between 0 and 9223372036854775807"),
        ("heartbeat", [1, {"age_ms": "1"}], "age_ms is an integer between 0 and 9007199254740992"),
        ("heartbeat", [1, {"age_ms": 1.5}], "age_ms is an integer between 0 and 9007199254740992"),
        ("heartbeat", [1, {"missed": "n1"}], "missed is an array of members"),
        ("heartbeat", [1, {"missed": None}], "missed is an array of members"),
        ("heartbeat", [1, {"missed": [1]}], f"a member is named {MEMBER_NAMES}"),
        ("offline", [1, {"missed": ["n1", ""]}], f"a member is named {MEMBER_NAMES}"),
        ("offline", [1, {"missed": ["-n1"]}], f"a member is named {MEMBER_NAMES}"),
        ("offline", [1, {"missed": ["n1\n"]}], f"a member is named {MEMBER_NAMES}"),
        ("heartbeat", [1, {"forwarded": 1}], "forwarded is true or false"),
        ("heartbeat", [1, {"forwarded": None}], "forwarded is true or false"),
        ("heartbeat", [1, {"each": 1}], "each is true or false"),
        ("offline", [1, {"each": True}], "offline has no such option; it takes: age_ms, grace_ms, epoch, missed, forwarded"),
        ("count", [{"slots": None}], "slots is an array of slots"),
        ("count", [{"slots": 1}], "slots is an array of slots"),
        ("count", [{"slots": ["1"]}], "a slot is an integer between 0 and 16383"),
        ("count", [{"slots": [1, 2, 1]}], "a slot is named twice"),
        ("hello", [{"token": None}], "token is text"),
        ("hello", [{"token": b"secret"}], "token is text"),
        ("hello", [{"client": 7}], "client is text"),
        ("hello", [{"version": Raw(wire.text(b"\xff"))}], "version is valid UTF-8"),
    ],
    ids=repr,
)
def test_options_that_are_unknown_repeated_or_of_the_wrong_kind(method: str, params: list[Any], message: str) -> None:
    assert refusal(*params, method=method) == message


# --- notifications ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", COMMANDS)
def test_a_notification_is_taken_where_its_command_allows_it_and_never_answered(method: str) -> None:
    values = {"online": [None, 1]}.get(method, [[1, 2]] if COMMANDS[method].params[:1] and method != "follow" else [])
    served = serve(whole(wire.notification(method, *values) + wire.request(1, "ping")))
    taken = [name for name, msgid, *_ in served.requests if msgid is None]
    assert taken == ([method] if COMMANDS[method].notification else [])
    assert served.bad_notifications == (0 if COMMANDS[method].notification else 1)
    assert served.out == wire.result(1, 0)


@pytest.mark.parametrize(
    "notification",
    [
        wire.notification("nothing"),
        wire.notification("heartbeat"),
        wire.notification("heartbeat", [True]),
        wire.notification("heartbeat", 1, {"ttl": 1}),
        wire.notification("heartbeat", 1, Pairs(((1, 1),))),
        wire.notification("heartbeat", [1] * 100_001),
        wire.notification("heartbeat", 1, {f"o{index}": 0 for index in range(17)}),
    ],
)
def test_a_bad_notification_is_counted_and_dropped(notification: bytes) -> None:
    served = serve(whole(notification + wire.request(1, "ping") + notification))
    assert (served.out, served.bad_notifications, served.protocol_error) == (wire.result(1, 0), 2, None)


def test_a_notification_that_the_service_fails_or_answers_gets_no_reply() -> None:
    session = ServerSession()
    session.receive_data(wire.notification("heartbeat", 1) * 2)
    first, second = session.next_request(), session.next_request()
    assert first is not None
    assert second is not None
    session.reply(first, 1)
    session.fail(second, Busy("no memory left"))
    assert session.data_to_send() == b""
    assert session.bad_notifications == 1
    assert session.drained

"""Requests that are refused: parameters, ids, options, limits, rights, cursors; the connection goes on."""

from __future__ import annotations

from typing import Any

from tests.conformance import wire
from tests.conformance.case import Case, Server, case, say
from tests.conformance.command_cases import HELLO, INFO
from tests.conformance.wire import Pairs, Raw, unhex

METHODS = (
    "hello, ping, heartbeat, offline, status, last_seen, count, online, watch, unwatch, follow, info, topology, "
    "slots, ages, pages_out, missed"
)
MEMBER_NAMES = "1 to 64 letters, digits, dots, dashes and underscores"
INT_ID = "an integer id is between 0 and 18446744073709551615"
OTHER_RUN = "this cursor is not of this run of the node; read the state and follow anew"


def refused(name: str, method: str, params: list[Any], code: str, message: str, *, server: Server = Server.OPEN) -> Case:
    """A request that gets an error; the next one is served as if nothing had been."""
    sent = wire.request(7, method, *params) + wire.request(8, "ping")
    return case(name, say(sent, wire.error(7, code, message), wire.result(8, "pong")), server=server)


def bad(name: str, method: str, params: list[Any], message: str) -> Case:
    return refused(name, method, params, "bad_request", message)


def bad_id(name: str, value: Any, why: str) -> Case:
    """A batch with one value that is no id: nothing of it is applied."""
    good = f"refused-{name}"
    return case(
        f"an id that is {name}",
        say(wire.request(1, "heartbeat", [good, value]), wire.error(1, "bad_request", f"id 1 of the batch: {why}")),
        say(wire.request(2, "status", [good]), wire.result(2, [False])),
        say(wire.request(3, "status", [good, good, value]), wire.error(3, "bad_request", f"id 2 of the batch: {why}")),
    )


def with_token(name: str, token: str, sent: bytes, *answers: Any) -> Case:
    """Requests of a caller who has shown a token."""
    hello = say(wire.request(0, "hello", {"token": token}), [1, 0, None, HELLO])
    return case(name, hello, say(sent, *answers), server=Server.GUARDED)


UNKNOWN_METHODS: tuple[Case, ...] = (
    refused("an unknown method", "nothing", [], "unknown_method", f"no method 'nothing'; there are: {METHODS}"),
    refused("a method without a name", "", [], "unknown_method", f"no method ''; there are: {METHODS}"),
    refused("a method in capitals", "PING", [], "unknown_method", f"no method 'PING'; there are: {METHODS}"),
    refused("a long method", "m" * 70, [], "unknown_method", f"no method '{'m' * 64}'; there are: {METHODS}"),
)

BAD_PARAMETERS: tuple[Case, ...] = (
    bad("ping with a parameter", "ping", [1], "ping takes [], not 1 positional parameters"),
    bad(
        "heartbeat without ids",
        "heartbeat",
        [],
        "heartbeat takes [ids, {age_ms?, epoch?, missed?, forwarded?, each?}], not 0 positional parameters",
    ),
    bad("status with two parameters", "status", [1, 2], "status takes [ids, {epoch?}], not 2 positional parameters"),
    bad("options before ids", "status", [{}, 1], "status takes [ids, {epoch?}], not 2 positional parameters"),
    bad("online without a limit", "online", [None], "online takes [cursor, limit, {slots?}], not 1 positional parameters"),
    bad("a limit of 0", "online", [None, 0], "limit is an integer between 1 and 10000, not 0"),
    bad("a limit above the largest", "online", [None, 10_001], "limit is an integer between 1 and 10000, not 10001"),
    bad("a limit that is a float", "online", [None, 10.0], "limit is an integer between 1 and 10000"),
    bad("a limit that is a boolean", "online", [None, True], "limit is an integer between 1 and 10000"),
    bad("a cursor that is a number", "follow", [7], "a cursor is text or nil"),
    bad("a cursor that is not UTF-8", "follow", [Raw(unhex("a1 ff"))], "a cursor is valid UTF-8"),
    bad("a made-up cursor of online", "online", ["nonsense", 10], "this is not a cursor that a scan gave"),
    bad("an empty cursor of online", "online", ["", 10], "this is not a cursor that a scan gave"),
    refused("a long cursor", "follow", ["c" * 4097], "too_large", "a cursor has at most 4096 bytes, not 4097"),
    refused("a made-up cursor of follow", "follow", ["nonsense"], "gap", OTHER_RUN),
    refused("an empty cursor of follow", "follow", [""], "gap", OTHER_RUN),
    refused("a cursor of another run", "follow", ["0123456789abcdef.0"], "gap", OTHER_RUN),
    bad("watch without ids", "watch", [], "watch takes [ids, cursor?], not 0 positional parameters"),
    bad("watch with three parameters", "watch", [1, None, 2], "watch takes [ids, cursor?], not 3 positional parameters"),
    bad("unwatch with a cursor", "unwatch", [1, None], "unwatch takes [ids], not 2 positional parameters"),
    bad("a cursor of watch that is a number", "watch", [1, 7], "a cursor is text or nil"),
    bad("a cursor of watch that is an array", "watch", [1, ["c"]], "a cursor is text or nil"),
    bad("a cursor of watch that is not UTF-8", "watch", [1, Raw(unhex("a1 ff"))], "a cursor is valid UTF-8"),
    bad("watching what is no id", "watch", [["good", None]], "id 1 of the batch: an id is an integer or text, not nil"),
    bad("unwatching what is no id", "unwatch", [-1], f"id 0 of the batch: {INT_ID}, not -1"),
    refused("a long cursor of watch", "watch", [1, "c" * 4097], "too_large", "a cursor has at most 4096 bytes, not 4097"),
    refused("a made-up cursor of watch", "watch", [1, "nonsense"], "gap", OTHER_RUN),
    refused("a cursor of another run to watch from", "watch", [[], "0123456789abcdef.0"], "gap", OTHER_RUN),
    refused(
        "watching more ids than a batch has",
        "watch",
        [[1] * 100_001],
        "too_large",
        "a batch has at most 100000 ids, not 100001",
    ),
    refused("a batch of too many ids", "status", [[1] * 100_001], "too_large", "a batch has at most 100000 ids, not 100001"),
)

BAD_IDS: tuple[Case, ...] = (
    bad_id("nil", None, "an id is an integer or text, not nil"),
    bad_id("a boolean", True, "an id is an integer or text, not a boolean"),
    bad_id("a float", 42.0, "an id is an integer or text, not a float"),
    bad_id("binary", b"42", "an id is an integer or text, not binary data"),
    bad_id("an array", [42], "an id is an integer or text, not an array"),
    bad_id("a map", {"id": 42}, "an id is an integer or text, not a map"),
    bad_id("a timestamp", Raw(unhex("d6 ff 00 00 00 00")), "an id is an integer or text, not Timestamp"),
    bad_id("negative", -1, f"{INT_ID}, not -1"),
    bad_id("empty", "", "a text id has between 1 and 255 bytes, not 0"),
    bad_id("too long", "x" * 256, "a text id has between 1 and 255 bytes, not 256"),
    bad_id("too long in bytes", "é" * 128, "a text id has between 1 and 255 bytes, not 256"),
    bad_id("with a NUL", "a\0b", "a text id has no NUL byte"),
    bad_id("not UTF-8", Raw(unhex("a2 c3 28")), "a text id is valid UTF-8"),
    bad_id("a surrogate", Raw(unhex("a3 ed a0 80")), "a text id is valid UTF-8"),
    bad(
        "an extension",
        "status",
        [Raw(unhex("d4 05 00"))],
        "a request has no extension values, but this one has one of type 5",
    ),
)

BAD_OPTIONS: tuple[Case, ...] = (
    bad("an option of another command", "status", [1, {"age_ms": 1}], "status has no such option; it takes: epoch"),
    bad("an option where there are none", "info", [{"token": "t"}], "info has no such option; it takes: none"),
    bad("an option of watch", "watch", [1, {"epoch": 1}], "watch has no such option; it takes: none"),
    bad("an option behind a cursor", "watch", [1, None, {"epoch": 1}], "watch has no such option; it takes: none"),
    bad("an option named by a number", "status", [1, Pairs(((1, 1),))], "the keys of a map are text"),
    bad("an option given twice", "status", [1, Pairs((("epoch", 1), ("epoch", 2)))], "a map has a key twice"),
    bad("a negative age", "heartbeat", [1, {"age_ms": -1}], "age_ms is an integer between 0 and 9007199254740992, not -1"),
    bad("an age that is a float", "heartbeat", [1, {"age_ms": 1.0}], "age_ms is an integer between 0 and 9007199254740992"),
    bad("an age that is nil", "offline", [1, {"age_ms": None}], "age_ms is an integer between 0 and 9007199254740992"),
    bad(
        "a grace above a year",
        "offline",
        [1, {"grace_ms": 31_536_000_001}],
        "grace_ms is an integer between 0 and 31536000000, not 31536000001",
    ),
    bad("an epoch that is text", "last_seen", [1, {"epoch": "1"}], "epoch is an integer between 0 and 9223372036854775807"),
    bad("slots that are a number", "count", [{"slots": 1}], "slots is an array of slots"),
    bad("a slot that does not exist", "count", [{"slots": [16_384]}], "a slot is an integer between 0 and 16383, not 16384"),
    bad("a slot that is named twice", "online", [None, 1, {"slots": [5, 5]}], "a slot is named twice"),
    bad("missed members that are text", "heartbeat", [1, {"missed": "n2"}], "missed is an array of members"),
    bad("a missed member without a name", "offline", [1, {"missed": ["n2", ""]}], f"a member is named by {MEMBER_NAMES}"),
    refused(
        "too many missed members",
        "heartbeat",
        [1, {"missed": ["n2"] * 9}],
        "too_large",
        "missed has at most 8 members, not 9",
    ),
    bad("each that is a number", "heartbeat", [1, {"each": 1}], "each is true or false"),
    bad("forwarded that is a number", "heartbeat", [1, {"forwarded": 1}], "forwarded is true or false"),
    bad("a token that is binary", "hello", [{"token": b"secret"}], "token is text"),
    refused("a long token", "hello", [{"token": "t" * 8193}], "too_large", "token has at most 8192 bytes, not 8193"),
    refused(
        "too many options",
        "status",
        [1, {f"o{number}": 0 for number in range(17)}],
        "too_large",
        "a request has at most 16 options, not 17",
    ),
)

ALONE: tuple[Case, ...] = tuple(
    refused(f"{method} of a node that stands alone", method, params, "unavailable", "this node is no member of a cluster")
    for method, params in (("ages", [1]), ("pages_out", [None, 10]), ("missed", ["n2"]))
)

RIGHTS: tuple[Case, ...] = (
    *(
        refused(
            f"{method} without a token",
            method,
            params,
            "unauthenticated",
            f"{method} needs a token; show one with hello",
            server=Server.GUARDED,
        )
        for method, params in (
            ("heartbeat", [1]),
            ("offline", [1]),
            ("status", [1]),
            ("last_seen", [1]),
            ("count", []),
            ("online", [None, 1]),
            ("watch", [1]),
            ("unwatch", [1]),
            ("follow", []),
            ("info", []),
            ("topology", []),
            ("slots", []),
            ("ages", [1]),
            ("pages_out", [None, 1]),
            ("missed", ["n2"]),
        )
    ),
    case("hello without a token", say(wire.request(1, "hello"), [1, 1, None, HELLO]), server=Server.GUARDED),
    refused(
        "a token that is not known",
        "hello",
        [{"token": "not-a-token"}],
        "unauthenticated",
        "this token is not known",
        server=Server.GUARDED,
    ),
    refused("an empty token", "hello", [{"token": ""}], "unauthenticated", "this token is not known", server=Server.GUARDED),
    case(
        "a notification without a token is dropped without a word",
        say(wire.notification("heartbeat", "guarded-dropped") + wire.request(1, "ping"), wire.result(1, "pong")),
        say(wire.request(2, "hello", {"token": "reader-token"}), [1, 2, None, HELLO]),
        say(wire.request(3, "status", "guarded-dropped"), wire.result(3, [False])),
        server=Server.GUARDED,
    ),
    with_token(
        "a token that may read",
        "reader-token",
        wire.request(1, "status", "guarded-nobody")
        + wire.request(2, "heartbeat", "guarded-nobody")
        + wire.request(3, "offline", "guarded-nobody")
        + wire.request(4, "info")
        + wire.request(5, "status", "guarded-nobody")
        + wire.request(6, "ages", "guarded-nobody")
        + wire.request(7, "pages_out", None, 1)
        + wire.request(8, "missed", "n2"),
        wire.result(1, [False]),
        wire.error(2, "denied", "heartbeat needs the right write, which this token does not carry"),
        wire.error(3, "denied", "offline needs the right write, which this token does not carry"),
        wire.error(4, "denied", "info needs the right admin, which this token does not carry"),
        wire.result(5, [False]),
        *(
            wire.error(msgid, "denied", f"{method} needs the right cluster, which this token does not carry")
            for msgid, method in enumerate(("ages", "pages_out", "missed"), start=6)
        ),
    ),
    with_token(
        "a token that may write",
        "writer-token",
        wire.request(1, "heartbeat", "guarded-written")
        + wire.request(2, "status", "guarded-written")
        + wire.request(3, "last_seen", "guarded-written")
        + wire.request(4, "count")
        + wire.request(5, "online", None, 1)
        + wire.request(6, "watch", "guarded-written")
        + wire.request(7, "unwatch", "guarded-written")
        + wire.request(8, "follow")
        + wire.request(9, "topology")
        + wire.request(10, "slots")
        + wire.request(11, "heartbeat", "guarded-written", {"forwarded": True}),
        wire.result(1, 1),
        *(
            wire.error(msgid, "denied", f"{method} needs the right read, which this token does not carry")
            for msgid, method in enumerate(
                ("status", "last_seen", "count", "online", "watch", "unwatch", "follow", "topology", "slots"), start=2
            )
        ),
        wire.error(11, "denied", "a forwarded write needs the right cluster, which this token does not carry"),
    ),
    with_token(
        "a token without rights of its own may read and write",
        "both-token",
        wire.request(1, "heartbeat", "guarded-both") + wire.request(2, "status", "guarded-both"),
        wire.result(1, 1),
        wire.result(2, [True]),
    ),
    with_token(
        "a token that may look inside and nothing else",
        "admin-token",
        wire.request(1, "info") + wire.request(2, "status", 1),
        [1, 1, None, INFO],
        wire.error(2, "denied", "status needs the right read, which this token does not carry"),
    ),
    with_token(
        "another token takes the place of the first, and one that is not known does not",
        "writer-token",
        wire.request(1, "hello", {"token": "not-a-token"})
        + wire.request(2, "heartbeat", "guarded-again")
        + wire.request(3, "hello", {"token": "reader-token"})
        + wire.request(4, "heartbeat", "guarded-again")
        + wire.request(5, "hello")
        + wire.request(6, "status", "guarded-again"),
        wire.error(1, "unauthenticated", "this token is not known"),
        wire.result(2, 1),
        [1, 3, None, HELLO],
        wire.error(4, "denied", "heartbeat needs the right write, which this token does not carry"),
        [1, 5, None, HELLO],
        wire.result(6, [True]),
    ),
    with_token(
        "a token with every right",
        "everything-token",
        wire.request(1, "heartbeat", "guarded-all", {"forwarded": True})
        + wire.request(2, "status", "guarded-all")
        + wire.request(3, "info"),
        wire.result(1, 1),
        wire.result(2, [True]),
        [1, 3, None, INFO],
    ),
)

CASES = UNKNOWN_METHODS + BAD_PARAMETERS + BAD_IDS + BAD_OPTIONS + ALONE + RIGHTS

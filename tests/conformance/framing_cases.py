"""Frames: the forms that MessagePack allows, pipelines, notifications, and what ends a connection. Mostly literal bytes."""

from __future__ import annotations

from tests.conformance import wire
from tests.conformance.case import Case, case, say
from tests.conformance.wire import unhex

PONG = unhex("94 01 07 c0 a4 70 6f 6e 67")
SHAPE = "a request is [0, msgid, method, params]"
NOT_MESSAGEPACK = "not MessagePack, or nested too deeply"
TOO_LARGE = "a frame has at most 4194304 bytes, this one has more"


def ping(msgid: str) -> bytes:
    """`ping` with a msgid in hex."""
    return unhex(f"94 00 {msgid} a4 70 69 6e 67 90")


CASES: tuple[Case, ...] = (
    case("ping in its shortest form", say(ping("07"), PONG)),
    case("ping with an array of 16 bits", say(unhex("dc 00 04 00 07 a4 70 69 6e 67 90"), PONG)),
    case("ping with an array of 32 bits", say(unhex("dd 00 00 00 04 00 07 a4 70 69 6e 67 90"), PONG)),
    case("ping with its kind in 8 bits", say(unhex("94 cc 00 07 a4 70 69 6e 67 90"), PONG)),
    case("ping with its kind in 64 bits, signed", say(unhex("94 d3 00 00 00 00 00 00 00 00 07 a4 70 69 6e 67 90"), PONG)),
    case("ping with its msgid in 8 bits", say(ping("cc 07"), PONG)),
    case("ping with its msgid in 16 bits", say(ping("cd 00 07"), PONG)),
    case("ping with its msgid in 32 bits", say(ping("ce 00 00 00 07"), PONG)),
    case("ping with its msgid in 64 bits", say(ping("cf 00 00 00 00 00 00 00 07"), PONG)),
    case("ping with its method in text of 8 bits", say(unhex("94 00 07 d9 04 70 69 6e 67 90"), PONG)),
    case("ping with its method in text of 32 bits", say(unhex("94 00 07 db 00 00 00 04 70 69 6e 67 90"), PONG)),
    case("ping with its params in an array of 32 bits", say(unhex("94 00 07 a4 70 69 6e 67 dd 00 00 00 00"), PONG)),
    case("ping with an empty map of options", say(unhex("94 00 07 a4 70 69 6e 67 91 80"), PONG)),
    case("ping with an empty map of 32 bits", say(unhex("94 00 07 a4 70 69 6e 67 91 df 00 00 00 00"), PONG)),
    case("the smallest msgid", say(ping("00"), unhex("94 01 00 c0 a4 70 6f 6e 67"))),
    case("a msgid of 8 bits", say(ping("cc ff"), unhex("94 01 cc ff c0 a4 70 6f 6e 67"))),
    case("a msgid of 16 bits", say(ping("cd ff ff"), unhex("94 01 cd ff ff c0 a4 70 6f 6e 67"))),
    case("the largest msgid", say(ping("ce ff ff ff ff"), unhex("94 01 ce ff ff ff ff c0 a4 70 6f 6e 67"))),
    case("a msgid that is in use already", say(ping("07") * 3, PONG, PONG, PONG)),
    case(
        "answers in the order of requests",
        say(
            wire.request(3, "ping")
            + wire.request(1, "status", ["conf-order"])
            + wire.request(2, "nothing of the kind")
            + wire.request(0, "ping"),
            wire.result(3, "pong"),
            wire.result(1, [False]),
            wire.error(
                2,
                "unknown_method",
                "no method 'nothing of the kind'; there are: hello, ping, heartbeat, offline, status, last_seen, count, "
                "online, watch, unwatch, follow, info, topology, slots, ages, pages_out, missed",
            ),
            wire.result(0, "pong"),
        ),
    ),
    case("two hundred requests at once", say(ping("07") * 200, *[PONG] * 200)),
    case(
        "a notification gets no answer",
        say(
            wire.notification("heartbeat", "conf-notified") + wire.request(1, "status", "conf-notified"),
            wire.result(1, [True]),
        ),
    ),
    case(
        "a notification in 16 bits",
        say(
            unhex("dc 00 03 02 a9") + b"heartbeat" + unhex("91 a1 7a") + wire.request(1, "status", "z"),
            wire.result(1, [True]),
        ),
    ),
    case(
        "an offline notification",
        say(
            wire.notification("heartbeat", ["conf-left", "conf-stayed"])
            + wire.notification("offline", ["conf-left"])
            + wire.request(1, "status", ["conf-left", "conf-stayed"]),
            wire.result(1, [False, True]),
        ),
    ),
    case(
        "bad notifications are dropped without a word",
        say(
            wire.notification("nothing")
            + wire.notification("ping")
            + wire.notification("status", 1)
            + wire.notification("heartbeat")
            + wire.notification("heartbeat", None)
            + wire.notification("heartbeat", ["conf-bad", True])
            + wire.notification("heartbeat", "conf-bad", {"nothing": 1})
            + wire.notification("offline", "conf-bad", {"grace_ms": -1})
            + wire.request(1, "status", "conf-bad"),
            wire.result(1, [False]),
        ),
    ),
    # --- what ends a connection --------------------------------------------------------------------------------------
    case(
        "a value that is no array",
        say(
            unhex("c0"),
        ),
        closes=True,
    ),
    case("a request of another protocol in text", say(b"*1\r\n$4\r\nPING\r\n"), closes=True),
    case("a TLS hello", say(unhex("16 03 01 00 f4 01 00 00 f0 03 03")), closes=True),
    case("a response from a client", say(unhex("94 01 07 c0 c0")), closes=True),
    case("a kind that does not exist", say(unhex("94 03 07 a4 70 69 6e 67 90")), closes=True),
    case("a kind that is a boolean", say(unhex("94 c2 07 a4 70 69 6e 67 90")), closes=True),
    case("a kind that is a float", say(unhex("94 ca 00 00 00 00 07 a4 70 69 6e 67 90")), closes=True),
    case("a msgid that is a boolean", say(ping("c3")), closes=True),
    case("a msgid that is a float", say(ping("ca 40 e0 00 00")), closes=True),
    case("a msgid that is nil", say(ping("c0")), closes=True),
    case("a msgid that is text", say(ping("a1 37")), closes=True),
    case("a negative msgid", say(ping("ff")), closes=True),
    case("a msgid of more than 32 bits", say(ping("cf 00 00 00 01 00 00 00 00")), closes=True),
    case(
        "a request without params", say(unhex("93 00 07 a4 70 69 6e 67"), wire.error(7, "bad_request", SHAPE)), closes=True
    ),
    case(
        "a request with one part too many",
        say(unhex("95 00 07 a4 70 69 6e 67 90 c0"), wire.error(7, "bad_request", SHAPE)),
        closes=True,
    ),
    case(
        "a method that is binary",
        say(unhex("94 00 07 c4 04 70 69 6e 67 90"), wire.error(7, "bad_request", SHAPE)),
        closes=True,
    ),
    case(
        "params that are a map", say(unhex("94 00 07 a4 70 69 6e 67 80"), wire.error(7, "bad_request", SHAPE)), closes=True
    ),
    case("params that are nil", say(unhex("94 00 07 a4 70 69 6e 67 c0"), wire.error(7, "bad_request", SHAPE)), closes=True),
    case("the byte that MessagePack never uses", say(ping("07") + unhex("c1"), PONG), closes=True),
    case("that byte in a request", say(unhex("94 00 07 c1"), wire.error(7, "bad_request", NOT_MESSAGEPACK)), closes=True),
    case(
        "nesting that is too deep",
        say(unhex("94 00 07 a6") + b"status" + b"\x91" * 5000, wire.error(7, "bad_request", NOT_MESSAGEPACK)),
        closes=True,
    ),
    case(
        "what comes after the end of a connection is not read",
        say(ping("07") + unhex("93 00 08 a4 70 69 6e 67") + ping("09"), PONG, wire.error(8, "bad_request", SHAPE)),
        closes=True,
    ),
    case(
        "a frame above the limit",
        say(wire.request(7, "status", "x" * 4_194_304), wire.error(7, "too_large", TOO_LARGE)),
        closes=True,
    ),
    case(
        "a header that claims more than the limit",
        say(
            unhex("94 00 07 a6") + b"status" + unhex("91 dd ff ff ff ff") + b"\x00" * 4_194_304,
            wire.error(7, "too_large", TOO_LARGE),
        ),
        closes=True,
    ),
    case("half a frame at the end is passed over", say(ping("07") + ping("08")[:-1], PONG)),
    case("nothing at all", say(b"")),
)

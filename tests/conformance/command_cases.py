"""Every command that asks or tells once: its results, its options, and how they hang together."""

from __future__ import annotations

from tests.conformance import wire
from tests.conformance.case import TICK_MS, TTL_MS, Case, Server, case, say
from tests.conformance.patterns import (
    ADDRESS,
    BITS64,
    COUNT,
    COUNTERS,
    CURSOR,
    INTEGER,
    RUN,
    TEXT,
    TIME_MS,
    Keep,
    Kept,
    any_order,
    some_of,
)
from tests.conformance.wire import unhex

UUID = "0192f0c1-2b3c-7d4e-8f50-61728394a5b6"
HELLO = {
    "protocol": 1,
    "version": TEXT,
    "node": TEXT,
    "run": RUN,
    "ttl_ms": TTL_MS,
    "tick_ms": TICK_MS,
    "heartbeat_interval_ms": TTL_MS // 3,
    "retention": "online",
    "limits": {
        "frame_bytes": 4_194_304,
        "ids_per_frame": 100_000,
        "requests_in_flight": 1024,
        "scan_limit": 10_000,
        "watched_ids": 10_000,
        "grace_ms": 31_536_000_000,
    },
}
INFO = (
    {"version": TEXT, "node": TEXT, "run": RUN, "engine": TEXT, "loop": TEXT}
    | {"ttl_ms": TTL_MS, "tick_ms": TICK_MS, "retention": "online"}
    | dict.fromkeys(["users", "online", "pending_sign_offs", "bytes", "slots_synced"], COUNT)
    | {"connections": COUNT, "connections_total": COUNT, "requests": COUNTERS, "failures": 0}
    | dict.fromkeys(["heartbeats", "sign_offs", "statuses", "bad_notifications", "protocol_errors"], COUNT)
    | {"transitions": COUNT, "timeouts": 0, "lateness_ms": COUNTERS}
    | {
        "uptime_ms": COUNT,
        "ticks": COUNT,
        "tick_age_ms": COUNT,
        "stalls": COUNT,
        "stall_longest_ms": COUNT,
        "hold_ms": COUNT,
    }
    | {"wall_clock_error_ms": INTEGER}
    | dict.fromkeys(["followers", "watchers", "watches", "watched_ids", "watch_bytes", "readers_behind"], COUNT)
    | {
        "readers_cut": COUNTERS,
        "feed_events": COUNT,
        "feed_bytes": COUNT,
        "feed_dropped_events": COUNT,
        "feed_gaps": COUNTERS,
    }
    | {"cluster_epoch": 0, "slots_owned": 16_384, "peers_up": 0, "forwarded_writes": 0, "moved_answers": 0}
)

CASES: tuple[Case, ...] = (
    # --- hello, ping, info, topology ---------------------------------------------------------------------------------
    case("hello", say(unhex("94 00 00 a5 68 65 6c 6c 6f 90"), [1, 0, None, HELLO])),
    case(
        "hello with a name, a version and a token that nobody asked for",
        say(
            wire.request(1, "hello", {"token": "whatever-it-is", "client": "conformance", "version": "1.0"}),
            [1, 1, None, HELLO],
        ),
    ),
    case("hello twice", say(wire.request(1, "hello") * 2, [1, 1, None, HELLO], [1, 1, None, HELLO])),
    case("info", say(wire.request(1, "info"), [1, 1, None, INFO])),
    case(
        "topology",
        say(
            wire.request(1, "topology"),
            [
                1,
                1,
                None,
                {
                    "epoch": 0,
                    "seed": BITS64,
                    "replicas": 1,
                    "members": [{"id": TEXT, "address": ADDRESS, "weight": 1, "state": "up", "run": RUN}],
                },
            ],
        ),
    ),
    case("slots", say(wire.request(1, "slots"), [1, 1, None, {"epoch": 0, "run": RUN, "synced": [[0, 16_383]]}])),
    case(
        "in a warm-up no slot is synced",
        say(wire.request(1, "slots"), [1, 1, None, {"epoch": 0, "run": RUN, "synced": []}]),
        server=Server.WARMING,
    ),
    # --- heartbeat and status ----------------------------------------------------------------------------------------
    case(
        "a heartbeat and a status, byte by byte",
        say(unhex("94 00 01 a9 68 65 61 72 74 62 65 61 74 91 92 ce 00 0f 42 40 a4 7a 6f 72 6f"), unhex("94 01 01 c0 02")),
        say(
            unhex("94 00 02 a6 73 74 61 74 75 73 91 93 ce 00 0f 42 40 a4 7a 6f 72 6f a3 6e 6f 77"),
            unhex("94 01 02 c0 93 c3 c3 c2"),
        ),
    ),
    case(
        "a heartbeat tells how many came online by it",
        say(wire.request(1, "heartbeat", ["hb-a", "hb-b"]), wire.result(1, 2)),
        say(wire.request(2, "heartbeat", ["hb-b", "hb-c"]), wire.result(2, 1)),
        say(wire.request(3, "heartbeat", ["hb-a", "hb-b", "hb-c"]), wire.result(3, 0)),
    ),
    case("a heartbeat of one id without an array", say(wire.request(1, "heartbeat", "hb-single"), wire.result(1, 1))),
    case("a heartbeat of nobody", say(wire.request(1, "heartbeat", []), wire.result(1, 0))),
    case("a heartbeat of the same id twice", say(wire.request(1, "heartbeat", ["hb-same", "hb-same"]), wire.result(1, 1))),
    case("the status of nobody", say(wire.request(1, "status", []), wire.result(1, []))),
    case("the status of one id without an array", say(wire.request(1, "status", "st-nobody"), wire.result(1, [False]))),
    case(
        "statuses come in the order asked, repeated ids too",
        say(wire.request(1, "heartbeat", ["st-here"]), wire.result(1, 1)),
        say(
            wire.request(2, "status", ["st-here", "st-away", "st-here", "st-away"]),
            wire.result(2, [True, False, True, False]),
        ),
    ),
    case(
        "statuses of seventeen and of seventy thousand",
        say(wire.request(1, "status", ["st-none"] * 17), wire.result(1, [False] * 17)),
        say(wire.request(2, "status", ["st-none"] * 70_000), wire.result(2, [False] * 70_000)),
    ),
    case(
        "a heartbeat that is older than the ttl brings nobody online",
        say(wire.request(1, "heartbeat", "hb-old", {"age_ms": TTL_MS + 2 * TICK_MS}), wire.result(1, 0)),
        say(wire.request(2, "status", "hb-old"), wire.result(2, [False])),
    ),
    case(
        "a heartbeat that is younger than the ttl does",
        say(wire.request(1, "heartbeat", "hb-young", {"age_ms": TTL_MS // 2, "epoch": 0}), wire.result(1, 1)),
        say(wire.request(2, "status", "hb-young", {"epoch": 7}), wire.result(2, [True])),
    ),
    case(
        "in a warm-up whoever has not beaten is unknown",
        say(wire.request(1, "heartbeat", "warm"), wire.result(1, 1)),
        say(wire.request(2, "status", ["warm", "cold"]), unhex("94 01 02 c0 92 c3 c0")),
        server=Server.WARMING,
    ),
    # --- ids ---------------------------------------------------------------------------------------------------------
    case(
        "a decimal text is the integer, in any legal form of it",
        say(unhex("94 00 01 a9") + b"heartbeat" + unhex("91 91 ce 3b 9a ca 07"), wire.result(1, 1)),  # 1000000007
        say(wire.request(2, "heartbeat", ["1000000007", 1_000_000_007]), wire.result(2, 0)),
        say(
            unhex("94 00 03 a6") + b"status" + unhex("91 92 cf 00 00 00 00 3b 9a ca 07 d3 00 00 00 00 3b 9a ca 07"),
            wire.result(3, [True, True]),
        ),
        say(
            wire.request(4, "status", ["01000000007", "+1000000007", "1000000007 ", "1000000007.0"]),
            wire.result(4, [False] * 4),
        ),
    ),
    case(
        "the largest integer, and text that is one more",
        say(wire.request(1, "heartbeat", [2**64 - 1]), wire.result(1, 1)),
        say(wire.request(2, "heartbeat", [str(2**64)]), wire.result(2, 1)),
        say(wire.request(3, "status", [str(2**64 - 1), str(2**64)]), wire.result(3, [True, True])),
    ),
    case(
        "a UUID is one by its lower-case text only",
        say(wire.request(1, "heartbeat", UUID), wire.result(1, 1)),
        say(wire.request(2, "status", [UUID, UUID.upper(), UUID.replace("-", "")]), wire.result(2, [True, False, False])),
    ),
    case(
        "text of every script, and the longest",
        say(wire.request(1, "heartbeat", ["é", "Ж", "😀" * 63, "x" * 255, " ", "\n"]), wire.result(1, 6)),
        say(wire.request(2, "status", ["é", "Ж", "😀" * 63, "x" * 255, " ", "\n"]), wire.result(2, [True] * 6)),
    ),
    case(
        "heartbeats of which each wants to know",
        say(wire.request(1, "heartbeat", ["each-a", "each-b"]), wire.result(1, 2)),
        say(wire.request(2, "heartbeat", ["each-b", "each-c", "each-c"], {"each": True}), wire.result(2, b"\0\1\0")),
        say(wire.request(3, "heartbeat", ["each-a", "each-c"], {"each": False}), wire.result(3, 0)),
        say(wire.request(4, "heartbeat", ["each-d"], {"each": True, "age_ms": 1_000}), wire.result(4, 1)),
        say(wire.request(5, "heartbeat", [], {"each": True}), wire.result(5, b"")),
    ),
    case(
        "a node that stands alone is told of members that were missed",
        say(wire.request(1, "heartbeat", "hb-missed", {"missed": ["n2", "n3"], "forwarded": True}), wire.result(1, 1)),
        say(wire.request(2, "offline", "hb-missed", {"missed": ["n2"], "forwarded": False}), wire.result(2, 1)),
    ),
    # --- offline -----------------------------------------------------------------------------------------------------
    case(
        "a sign-off tells how many went offline by it",
        say(wire.request(1, "heartbeat", ["off-a", "off-b"]), wire.result(1, 2)),
        say(wire.request(2, "offline", ["off-a", "off-b", "off-nobody"]), wire.result(2, 2)),
        say(wire.request(3, "offline", ["off-a"]), wire.result(3, 0)),
        say(wire.request(4, "status", ["off-a", "off-b", "off-nobody"]), wire.result(4, [False] * 3)),
        say(wire.request(5, "heartbeat", ["off-a"]), wire.result(5, 1)),
        say(wire.request(6, "status", ["off-a"]), wire.result(6, [True])),
    ),
    case(
        "a sign-off with a grace takes nobody offline at once",
        say(wire.request(1, "heartbeat", "grace"), wire.result(1, 1)),
        say(wire.request(2, "offline", "grace", {"grace_ms": 600_000, "age_ms": 0, "epoch": 0}), wire.result(2, 0)),
        say(wire.request(3, "status", "grace"), wire.result(3, [True])),
    ),
    case(
        "a sign-off that is older than the heartbeat does nothing",
        say(wire.request(1, "heartbeat", "off-late"), wire.result(1, 1)),
        say(wire.request(2, "offline", "off-late", {"age_ms": 60_000}), wire.result(2, 0)),
        say(wire.request(3, "status", "off-late"), wire.result(3, [True])),
    ),
    # --- last_seen ---------------------------------------------------------------------------------------------------
    case(
        "last_seen is a time or nil, in the order asked",
        say(wire.request(1, "heartbeat", ["seen-a", "seen-b"]), wire.result(1, 2)),
        say(wire.request(2, "last_seen", ["seen-a", "seen-nobody", "seen-b"]), [1, 2, None, [TIME_MS, None, TIME_MS]]),
        say(wire.request(3, "last_seen", "seen-a", {"epoch": 0}), [1, 3, None, [TIME_MS]]),
        say(wire.request(4, "last_seen", []), wire.result(4, [])),
    ),
    case(
        "with retention online, last_seen is nil once a user is offline",
        say(wire.request(1, "heartbeat", "seen-off"), wire.result(1, 1)),
        say(wire.request(2, "offline", "seen-off"), wire.result(2, 1)),
        say(wire.request(3, "last_seen", "seen-off"), wire.result(3, [None])),
    ),
    # --- count and online --------------------------------------------------------------------------------------------
    case(
        "count",
        say(wire.request(1, "count"), wire.result(1, 0)),
        say(wire.request(2, "heartbeat", [1, 2, 3]), wire.result(2, 3)),
        say(wire.request(3, "count"), wire.result(3, 3)),
        say(wire.request(4, "count", {"slots": list(range(16_384))}), wire.result(4, 3)),
        say(wire.request(5, "count", {"slots": []}), wire.result(5, 0)),
        say(wire.request(6, "offline", [2]), wire.result(6, 1)),
        say(wire.request(7, "count"), wire.result(7, 2)),
        fresh=True,
    ),
    case(
        "online, in one page",
        say(wire.request(1, "online", None, 10), wire.result(1, [None, []])),
        say(wire.request(2, "heartbeat", [7, "alice", UUID, 2**40]), wire.result(2, 4)),
        say(wire.request(3, "online", None, 10), [1, 3, None, [None, any_order(7, "alice", UUID, 2**40)]]),
        say(wire.request(4, "online", None, 10, {"slots": []}), wire.result(4, [None, []])),
        say(
            wire.request(5, "online", None, 10, {"slots": list(range(16_384))}),
            [1, 5, None, [None, any_order(7, "alice", UUID, 2**40)]],
        ),
        fresh=True,
    ),
    case(
        "online, page by page",
        say(wire.request(1, "heartbeat", ["a", "b", "c"]), wire.result(1, 3)),
        say(
            wire.request(2, "online", None, 2),
            [1, 2, None, [Keep("next", CURSOR), Keep("first", some_of(2, "a", "b", "c"))]],
        ),
        say([[0, 3, "online", [Kept("next"), 2]]], [1, 3, None, [None, some_of(1, "a", "b", "c")]]),
        say([[0, 4, "status", [Kept("first")]]], wire.result(4, [True, True])),
        fresh=True,
    ),
)

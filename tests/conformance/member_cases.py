"""What a member of a cluster answers: to the commands between members, and to what names others."""

from __future__ import annotations

from typing import Any

from tests.conformance import wire
from tests.conformance.case import MEMBER, TICK_MS, Case, Exchange, Server, case, say
from tests.conformance.patterns import COUNT, CURSOR, RUN, Keep, Kept, any_order, some_of

AGE_MS = 10 * TICK_MS
EVERYWHERE = [[0, 16_383]]


def member(name: str, *exchanges: Exchange) -> Case:
    return case(f"a member: {name}", *exchanges, server=Server.MEMBER, fresh=True)


def refused(name: str, method: str, params: list[Any], code: str, message: str) -> Case:
    return member(name, say(wire.request(7, method, *params), wire.error(7, code, message)))


CASES: tuple[Case, ...] = (
    member(
        "its topology",
        say(
            wire.request(1, "topology"),
            [
                1,
                1,
                None,
                {name: MEMBER[name] for name in ("epoch", "seed", "replicas")}
                | {"members": [{name: MEMBER[name] for name in ("id", "address", "weight")} | {"state": "up", "run": RUN}]},
            ],
        ),
    ),
    member(
        "its slots",
        say(
            wire.request(1, "slots"),
            [1, 1, None, {"epoch": MEMBER["epoch"], "run": RUN, "synced": EVERYWHERE, "first_start": False}],
        ),
    ),
    member(
        "ages in the order asked",
        say(wire.request(1, "heartbeat", ["here", 42]), wire.result(1, 2)),
        say(wire.request(2, "heartbeat", "older", {"age_ms": AGE_MS}), wire.result(2, 1)),
        say(wire.request(3, "offline", 42), wire.result(3, 1)),
        say(
            wire.request(4, "ages", ["nobody", 42, "here", "nobody", "older", "here"]),
            [1, 4, None, [[None, COUNT, COUNT, None, COUNT, COUNT], [False, True, False, False, False, False]]],
        ),
        say(wire.request(5, "ages", "nobody"), wire.result(5, [[None], [False]])),
        say(wire.request(6, "ages", []), wire.result(6, [[], []])),
    ),
    member(
        "pages",
        say(wire.request(1, "pages_out", None, 10), wire.result(1, [None, [], [], []])),
        say(wire.request(2, "heartbeat", ["a", "b", "c"]), wire.result(2, 3)),
        say(
            wire.request(3, "pages_out", None, 10),
            [1, 3, None, [None, any_order("a", "b", "c"), [COUNT] * 3, [False] * 3]],
        ),
        say(
            wire.request(4, "pages_out", None, 2),
            [1, 4, None, [Keep("next", CURSOR), some_of(2, "a", "b", "c"), [COUNT] * 2, [False] * 2]],
        ),
        say(
            [[0, 5, "pages_out", [Kept("next"), 2]]],
            [1, 5, None, [None, some_of(1, "a", "b", "c"), [COUNT], [False]]],
        ),
        say(wire.request(6, "offline", ["a", "b", "c"]), wire.result(6, 3)),
        say(
            wire.request(7, "pages_out", None, 10, {"slots": list(range(16_384))}),
            [1, 7, None, [None, any_order("a", "b", "c"), [COUNT] * 3, [True] * 3]],
        ),
        say(wire.request(8, "pages_out", None, 10, {"slots": []}), wire.result(8, [None, [], [], []])),
    ),
    refused("a made-up cursor", "pages_out", ["nonsense", 10], "bad_request", "this is not a cursor that a scan gave"),
    member(
        "nobody has missed anything",
        say(wire.request(1, "missed", "n2"), wire.result(1, [])),
        say(wire.request(2, "missed", "n2", {"slots": [0, 16_383]}), wire.result(2, [])),
    ),
    member(
        "writes that name members which are none, or were forwarded",
        say(wire.request(1, "heartbeat", "x", {"missed": ["n1", "n2"], "epoch": 4}), wire.result(1, 1)),
        say(wire.request(2, "offline", "x", {"forwarded": True, "missed": ["n2"], "epoch": 6}), wire.result(2, 1)),
        say(wire.request(3, "missed", "n2"), wire.result(3, [])),
    ),
    member(
        "one that owns everything refuses no reader, whatever the epoch",
        say(wire.request(1, "status", ["x"], {"epoch": 4}), wire.result(1, [False])),
        say(wire.request(2, "status", ["x"], {"epoch": 6}), wire.result(2, [False])),
        say(wire.request(3, "last_seen", ["x"], {"epoch": 2**63 - 1}), wire.result(3, [None])),
    ),
)

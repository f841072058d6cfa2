"""watch, unwatch and follow: what is told of whom, from which place on, and that it is told once."""

from __future__ import annotations

from typing import Any

from tests.conformance import wire
from tests.conformance.case import Case, Server, case, say
from tests.conformance.patterns import CURSOR, EVENT, TIME_MS, Keep, Kept
from tests.conformance.wire import unhex

UUID = "0192f0c1-2b3c-7d4e-8f50-61728394a5b6"
MANY = [f"many-{number}" for number in range(10_000)]


def watched(msgid: int, *statuses: bool | None, cursor: Any = CURSOR) -> list[Any]:
    """The answer to `watch`."""
    return [1, msgid, None, [cursor, list(statuses)]]


def presence(*events: Any, cursor: Any = CURSOR) -> list[Any]:
    return [2, "presence", [cursor, list(events)]]


def online(user_id: int | str) -> list[Any]:
    return [user_id, True, TIME_MS, "heartbeat"]


def signed_off(user_id: int | str) -> list[Any]:
    return [user_id, False, TIME_MS, "sign_off"]


WATCH: tuple[Case, ...] = (
    case(
        "watch, byte by byte",
        say(unhex("94 00 01 a9 68 65 61 72 74 62 65 61 74 91 a4 77 2d 6f 6e"), unhex("94 01 01 c0 01")),
        say(unhex("94 00 02 a5 77 61 74 63 68 91 92 a4 77 2d 6f 6e a5 77 2d 6f 66 66"), watched(2, True, False)),
        say(unhex("94 00 03 a7 75 6e 77 61 74 63 68 91 92 a4 77 2d 6f 6e a5 77 2d 6f 66 66"), unhex("94 01 03 c0 02")),
    ),
    case(
        "watch tells what happens to those watched from then on, and of nobody else",
        say(wire.request(1, "heartbeat", "w-before"), wire.result(1, 1)),
        say(wire.request(2, "watch", ["w-before", "w-after"]), watched(2, True, False)),
        say(wire.request(3, "heartbeat", ["w-after", "w-stranger"]), wire.result(3, 2), presence(online("w-after"))),
        say(
            wire.request(4, "offline", ["w-stranger", "w-before"]),
            wire.result(4, 2),
            presence(signed_off("w-before")),
        ),
    ),
    case(
        "watch as a notification watches nobody, and unwatch as one changes nothing",
        say(wire.request(1, "watch", "w-kept"), watched(1, False)),
        say(
            wire.notification("watch", "w-dropped") + wire.notification("unwatch", "w-kept") + wire.request(2, "ping"),
            wire.result(2, "pong"),
        ),
        say(wire.request(3, "heartbeat", ["w-dropped", "w-kept"]), wire.result(3, 2), presence(online("w-kept"))),
    ),
    case("watching nobody", say(wire.request(1, "watch", []), watched(1))),
    case(
        "watching one id without an array, and with the cursor nil",
        say(wire.request(1, "watch", "w-single", None), watched(1, False)),
        say(wire.request(2, "heartbeat", "w-single"), wire.result(2, 1), presence(online("w-single"))),
    ),
    case(
        "an id that is watched twice gets its statuses, and is watched once",
        say(wire.request(1, "watch", ["w-twice", "w-other", "w-twice"]), watched(1, False, False, False)),
        say(wire.request(2, "heartbeat", "w-twice"), wire.result(2, 1), presence(online("w-twice"))),
        say(wire.request(3, "watch", ["w-twice"]), watched(3, True)),
        say(wire.request(4, "offline", "w-twice"), wire.result(4, 1), presence(signed_off("w-twice"))),
        say(wire.request(5, "unwatch", ["w-twice", "w-twice"]), wire.result(5, 1)),
    ),
    case(
        "whom watch names comes to those watched already",
        say(wire.request(1, "watch", ["w-first"]), watched(1, False)),
        say(wire.request(2, "watch", ["w-second"]), watched(2, False)),
        say(wire.request(3, "heartbeat", ["w-second"]), wire.result(3, 1), presence(online("w-second"))),
        say(wire.request(4, "heartbeat", ["w-first"]), wire.result(4, 1), presence(online("w-first"))),
    ),
    case(
        "ids of every kind are told as they are",
        say(wire.request(1, "watch", ["1000000019", 2**40 + 1, UUID[:-1] + "7", "w-é", "01"]), watched(1, *[False] * 5)),
        *(
            say(wire.request(2, "heartbeat", given), wire.result(2, 1), presence(online(told)))
            for given, told in (
                (1_000_000_019, 1_000_000_019),
                (str(2**40 + 1), 2**40 + 1),
                (UUID[:-1] + "7", UUID[:-1] + "7"),
                ("w-é", "w-é"),
                ("01", "01"),
            )
        ),
    ),
    case(
        "what came before watch in the same write is in the statuses, what comes after it is told",
        say(
            wire.request(1, "heartbeat", "w-early")
            + wire.request(2, "watch", ["w-early", "w-late"])
            + wire.request(3, "heartbeat", ["w-early", "w-late"]),
            wire.result(1, 1),
            watched(2, True, False),
            wire.result(3, 1),
            presence(online("w-late")),
        ),
    ),
    case(
        "the changes of a batch come in one notification, in order",
        say(wire.request(1, "watch", ["w-three", "w-one", "w-two"]), watched(1, False, False, False)),
        say(
            wire.request(2, "heartbeat", ["w-one", "w-two", "w-none", "w-three", "w-one"]),
            wire.result(2, 4),
            presence(online("w-one"), online("w-two"), online("w-three")),
        ),
    ),
    case(
        "in a warm-up the statuses of a watch may be unknown",
        say(wire.request(1, "heartbeat", "w-warm"), wire.result(1, 1)),
        say(wire.request(2, "watch", ["w-warm", "w-cold"]), watched(2, True, None)),
        server=Server.WARMING,
    ),
    case(
        "as many ids as may be watched, and one more",
        say(wire.request(1, "watch", MANY), watched(1, *[False] * 10_000)),
        say(
            wire.request(2, "watch", ["many-more"]),
            wire.error(2, "too_large", "a connection watches at most 10000 ids, not 10001"),
        ),
        say(wire.request(3, "watch", MANY[:17]), watched(3, *[False] * 17)),
        say(wire.request(4, "heartbeat", ["many-more", "many-9999"]), wire.result(4, 2), presence(online("many-9999"))),
        say(wire.request(5, "unwatch", MANY[:1]), wire.result(5, 1)),
        say(wire.request(6, "watch", ["many-more"]), watched(6, True)),
    ),
    case(
        "too many ids at once, and then none of them is watched",
        say(
            wire.request(1, "watch", [*MANY, "many-more"]),
            wire.error(1, "too_large", "a connection watches at most 10000 ids, not 10001"),
        ),
        say(wire.request(2, "unwatch", MANY[:3]), wire.result(2, 0)),
        say(wire.request(3, "heartbeat", ["many-at-once", "many-0"]), wire.result(3, 2)),
        say(wire.request(4, "watch", ["many-0"]), watched(4, True)),
    ),
)

UNWATCH: tuple[Case, ...] = (
    case(
        "unwatch tells how many were watched, and nothing more is told of them",
        say(wire.request(1, "watch", ["u-a", "u-b", "u-c"]), watched(1, False, False, False)),
        say(wire.request(2, "unwatch", ["u-a", "u-nobody", "u-b"]), wire.result(2, 2)),
        say(wire.request(3, "unwatch", "u-a"), wire.result(3, 0)),
        say(wire.request(4, "heartbeat", ["u-a", "u-b", "u-c"]), wire.result(4, 3), presence(online("u-c"))),
        say(wire.request(5, "watch", ["u-a"]), watched(5, True)),
        say(wire.request(6, "offline", ["u-a", "u-b"]), wire.result(6, 2), presence(signed_off("u-a"))),
    ),
    case("unwatch where nobody is watched", say(wire.request(1, "unwatch", ["u-never", 42]), wire.result(1, 0))),
    case("unwatching nobody", say(wire.request(1, "unwatch", []), wire.result(1, 0))),
    case(
        "unwatch and a change of those watched in the same write",
        say(wire.request(1, "watch", ["u-told", "u-untold"]), watched(1, False, False)),
        say(
            wire.request(2, "unwatch", "u-untold") + wire.request(3, "heartbeat", ["u-untold", "u-told"]),
            wire.result(2, 1),
            wire.result(3, 2),
            presence(online("u-told")),
        ),
    ),
)

PLACES: tuple[Case, ...] = (
    case(
        "watch from a cursor has the statuses there, then exactly what was missed",
        say(wire.request(1, "watch", ["p-a", "p-b"]), watched(1, False, False, cursor=Keep("begin", CURSOR))),
        say(
            wire.request(2, "heartbeat", "p-a"),
            wire.result(2, 1),
            presence(Keep("came", EVENT), cursor=Keep("middle", CURSOR)),
        ),
        say(
            wire.request(3, "heartbeat", ["p-b", "p-unwatched"]),
            wire.result(3, 2),
            presence(Keep("other", EVENT), cursor=Keep("third", CURSOR)),
        ),
        say(
            wire.request(4, "offline", "p-a"),
            wire.result(4, 1),
            presence(Keep("went", EVENT), cursor=Keep("end", CURSOR)),
        ),
        say(
            [[0, 5, "watch", [["p-a", "p-b", "p-unwatched"], Kept("middle")]]],
            watched(5, True, False, False, cursor=Kept("middle")),
            presence(Kept("other"), online("p-unwatched"), cursor=Kept("third")),
            presence(Kept("went"), cursor=Kept("end")),
        ),
        say(
            [[0, 6, "watch", [["p-a"], Kept("begin")]]],
            watched(6, False, cursor=Kept("begin")),
            presence(Kept("came"), cursor=Kept("middle")),
            presence(Kept("other"), online("p-unwatched"), cursor=Kept("third")),
            presence(Kept("went"), cursor=Kept("end")),
        ),
        say(
            [[0, 7, "watch", [["p-a", "p-b"], Kept("end")]]],
            watched(7, False, True, cursor=Kept("end")),
        ),
        fresh=True,
    ),
    case(
        "statuses at a cursor are those before all that came since, however often somebody came and went",
        say(wire.request(1, "follow"), [1, 1, None, Keep("begin", CURSOR)]),
        say(
            wire.request(2, "heartbeat", "p-busy"),
            wire.result(2, 1),
            presence(Keep("came", EVENT), cursor=Keep("first", CURSOR)),
        ),
        say(
            wire.request(3, "offline", "p-busy"),
            wire.result(3, 1),
            presence(Keep("went", EVENT), cursor=Keep("second", CURSOR)),
        ),
        say(
            wire.request(4, "heartbeat", "p-busy"),
            wire.result(4, 1),
            presence(Keep("again", EVENT), cursor=Keep("end", CURSOR)),
        ),
        say(
            [[0, 5, "watch", [["p-busy", "p-calm"], Kept("begin")]]],
            watched(5, False, False, cursor=Kept("begin")),
            presence(Kept("came"), cursor=Kept("first")),
            presence(Kept("went"), cursor=Kept("second")),
            presence(Kept("again"), cursor=Kept("end")),
        ),
        fresh=True,
    ),
    case(
        "without a cursor a connection that has been told everything stays at the present",
        say(wire.request(1, "watch", ["p-one"]), watched(1, False)),
        say(wire.request(2, "heartbeat", "p-one"), wire.result(2, 1), presence(online("p-one"), cursor=Keep("now", CURSOR))),
        say(wire.request(3, "watch", ["p-two"]), watched(3, False, cursor=Kept("now"))),
        say(wire.request(4, "follow"), [1, 4, None, Kept("now")]),
        fresh=True,
    ),
    case(
        "who watches and follows is told of each change once",
        say(wire.request(1, "watch", ["p-both"]), watched(1, False)),
        say(wire.request(2, "follow"), [1, 2, None, CURSOR]),
        say(
            wire.request(3, "heartbeat", ["p-both", "p-all"]),
            wire.result(3, 2),
            presence(online("p-both"), online("p-all")),
        ),
        say(wire.request(4, "unwatch", ["p-both"]), wire.result(4, 1)),
        say(wire.request(5, "offline", ["p-both"]), wire.result(5, 1), presence(signed_off("p-both"))),
        fresh=True,
    ),
    case(
        "a cursor is good for following and for watching",
        say(wire.request(1, "watch", ["p-kept"]), watched(1, False, cursor=Keep("begin", CURSOR))),
        say(wire.request(2, "heartbeat", ["p-kept"]), wire.result(2, 1), presence(Keep("came", EVENT))),
        say([[0, 3, "follow", [Kept("begin")]]], [1, 3, None, Kept("begin")], presence(Kept("came"))),
        fresh=True,
    ),
    case(
        "a cursor that is not to be had leaves everything as it was",
        say(wire.request(1, "watch", ["p-stays"]), watched(1, False)),
        say(
            wire.request(2, "watch", ["p-never"], "made-up"),
            wire.error(2, "gap", "this cursor is not of this run of the node; read the state and follow anew"),
        ),
        say(
            wire.request(3, "heartbeat", ["p-stays", "p-never"]),
            wire.result(3, 2),
            presence(online("p-stays")),
        ),
        say(wire.request(4, "unwatch", ["p-stays", "p-never"]), wire.result(4, 1)),
    ),
    case(
        "follow tells what happens from then on",
        say(wire.request(1, "heartbeat", "before"), wire.result(1, 1)),
        say(wire.request(2, "follow"), [1, 2, None, CURSOR]),
        say(wire.request(3, "heartbeat", "after"), wire.result(3, 1), presence(online("after"))),
        say(wire.request(4, "heartbeat", "42"), wire.result(4, 1), presence(online(42))),
        say(
            wire.request(5, "heartbeat", "after") + wire.request(6, "offline", "after"),
            wire.result(5, 0),
            wire.result(6, 1),
            presence(signed_off("after")),
        ),
        fresh=True,
    ),
    case(
        "follow from a cursor tells exactly what was missed",
        say(wire.request(1, "follow", None), [1, 1, None, Keep("begin", CURSOR)]),
        say(
            wire.request(2, "heartbeat", "seen"),
            wire.result(2, 1),
            presence(Keep("event", EVENT), cursor=Keep("middle", CURSOR)),
        ),
        say(
            [[0, 3, "follow", [Kept("begin")]]],
            [1, 3, None, Kept("begin")],
            presence(Kept("event"), cursor=Kept("middle")),
        ),
        say([[0, 4, "follow", [Kept("middle")]]], [1, 4, None, Kept("middle")]),
        fresh=True,
    ),
)

CASES = WATCH + UNWATCH + PLACES

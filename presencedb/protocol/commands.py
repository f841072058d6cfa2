"""THE table of commands: what each takes, what right it needs, how it is split over nodes and how the answers merge.

Dispatch, router, documentation and conformance tests read this table; there is no second list.
"""

from __future__ import annotations

from typing import Final

from presencedb.credentials import Right
from presencedb.protocol.command import Command, Merge, Param, Split
from presencedb.protocol.params import OPTION_NAMES


def _table(*commands: Command) -> dict[str, Command]:
    table = {command.name: command for command in commands}
    if len(table) != len(commands):
        raise TypeError("a command is declared twice")
    for command in commands:
        if unknown := set(command.options) - OPTION_NAMES:
            raise TypeError(f"{command.name} declares options that nothing reads: {unknown}")
    return table


COMMANDS: Final = _table(
    Command(
        name="hello",
        options=("token", "client", "version"),
        result="map: protocol, version, node, run, ttl_ms, tick_ms, heartbeat_interval_ms, retention, limits",
        right=None,
        split=Split.ANY,
        merge=Merge.ONE,
        help="Introduce yourself, show your token, and learn what this server promises.",
    ),
    Command(
        name="ping",
        result='"pong"',
        right=None,
        split=Split.ANY,
        merge=Merge.ONE,
        help="See whether the server answers.",
    ),
    Command(
        name="heartbeat",
        params=(Param.IDS,),
        options=("age_ms", "epoch", "missed", "forwarded", "each"),
        result="how many of them came online by it",
        right=Right.WRITE,
        notification=True,
        split=Split.OWNERS,
        merge=Merge.SUM,
        help="Mark users alive. As a notification it costs half.",
    ),
    Command(
        name="offline",
        params=(Param.IDS,),
        options=("age_ms", "grace_ms", "epoch", "missed", "forwarded"),
        result="how many went offline by it at once",
        right=Right.WRITE,
        notification=True,
        split=Split.OWNERS,
        merge=Merge.SUM,
        help="Sign users off, at once or after a grace in which a heartbeat of another device keeps them online.",
    ),
    Command(
        name="status",
        params=(Param.IDS,),
        options=("epoch",),
        result="array of true / false / nil, in the order asked",
        right=Right.READ,
        split=Split.FIRST_KNOWN,
        merge=Merge.IN_ORDER,
        help="Ask who is online; nil is unknown.",
    ),
    Command(
        name="last_seen",
        params=(Param.IDS,),
        options=("epoch",),
        result="array of Unix milliseconds or nil, in the order asked",
        right=Right.READ,
        split=Split.FIRST_KNOWN,
        merge=Merge.IN_ORDER,
        help="Ask when users were last heard of.",
    ),
    Command(
        name="count",
        options=("slots",),
        result="users online now",
        right=Right.READ,
        split=Split.SLOTS,
        merge=Merge.SUM,
        help="Count the users online.",
    ),
    Command(
        name="online",
        params=(Param.CURSOR, Param.LIMIT),
        options=("slots",),
        result="[next cursor or nil, ids]",
        right=Right.READ,
        split=Split.SLOTS,
        merge=Merge.CHAIN,
        help="List the users online, page by page. Who is online all along appears exactly once.",
    ),
    Command(
        name="watch",
        params=(Param.IDS, Param.CURSOR),
        optional=1,
        result="[cursor, statuses], then `presence` notifications",
        right=Right.READ,
        split=Split.TELLER,
        merge=Merge.IN_ORDER,
        help="Learn who is online and be told of every change; with a cursor, of exactly those missed, or the error gap.",
    ),
    Command(
        name="unwatch",
        params=(Param.IDS,),
        result="how many of them were watched",
        right=Right.READ,
        split=Split.TELLER,
        merge=Merge.SUM,
        help="Be told no more of the changes of these users.",
    ),
    Command(
        name="follow",
        params=(Param.CURSOR,),
        optional=1,
        result="cursor, then every transition in `presence` notifications",
        right=Right.READ,
        split=Split.ALL,
        merge=Merge.CHAIN,
        help="Be told of every change; with a cursor, of exactly those missed since, or the error gap.",
    ),
    Command(
        name="info",
        result="map of counters",
        right=Right.ADMIN,
        split=Split.ALL,
        merge=Merge.BY_NODE,
        help="Look inside: users, memory, connections, lateness of expiry, stalls.",
    ),
    Command(
        name="topology",
        result="map: epoch, seed, replicas, members",
        right=Right.READ,
        split=Split.ANY,
        merge=Merge.ONE,
        help="Learn the members of the cluster and the seed of its hash.",
    ),
    Command(
        name="slots",
        result="map: epoch, run, synced",
        right=Right.READ,
        split=Split.ALL,
        merge=Merge.SUM,
        help="Learn for which slots this node knows who is offline.",
    ),
    Command(
        name="ages",
        params=(Param.IDS,),
        result="[ages, signed_off]: of each id how long ago it was last written, or nil, and whether that was a sign-off",
        right=Right.CLUSTER,
        split=Split.NODE,
        merge=Merge.ONE,
        help="Between nodes: what do you have of these users? Asked before they are said to be offline.",
    ),
    Command(
        name="pages_out",
        params=(Param.CURSOR, Param.LIMIT),
        options=("slots",),
        result="[next cursor or nil, ids, ages, signed_off]",
        right=Right.CLUSTER,
        split=Split.NODE,
        merge=Merge.ONE,
        help="Between nodes: give me all that you have of these slots, page by page.",
    ),
    Command(
        name="missed",
        params=(Param.MEMBER,),
        options=("slots",),
        result="slots, as an array of [first, last]",
        right=Right.CLUSTER,
        split=Split.NODE,
        merge=Merge.ONE,
        help="Between nodes: in which slots were there writes that I missed? Those given are pulled by now.",
    ),
)
"""Every command of the protocol, by name."""

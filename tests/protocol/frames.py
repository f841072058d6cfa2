"""Hypothesis strategies for streams: sound frames of every command, refused ones, and bytes that end a session."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from presencedb.errors import ERRORS
from presencedb.limits import AGE_MS_MAX, GRACE_MS_MAX, REPLICAS_MAX, SCAN_LIMIT_MAX, SLOT_COUNT
from presencedb.protocol.command import Command, Param
from presencedb.protocol.commands import COMMANDS
from tests.conformance import wire
from tests.conformance.wire import Pairs, Raw
from tests.support import strategies

MEMBERS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
OPTION_VALUES: dict[str, SearchStrategy[Any]] = {
    "age_ms": st.integers(0, AGE_MS_MAX),
    "grace_ms": st.integers(0, GRACE_MS_MAX),
    "epoch": st.integers(0, 2**63 - 1),
    "slots": st.lists(st.integers(0, SLOT_COUNT - 1), unique=True, max_size=20),
    "missed": st.lists(MEMBERS, max_size=REPLICAS_MAX),
    "forwarded": st.booleans(),
    "each": st.booleans(),
    "token": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    "client": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    "version": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
}
CURSORS = st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=40))


def msgids() -> SearchStrategy[int]:
    return st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000, 2**32 - 1]))


def long_forms(number: int) -> list[bytes]:
    """Every legal form of a small number, the shortest included."""
    forms = [wire.integer(number), b"\xcc" + struct.pack(">B", number), b"\xcd" + struct.pack(">H", number)]
    forms += [b"\xce" + struct.pack(">I", number), b"\xcf" + struct.pack(">Q", number)]
    forms += [b"\xd1" + struct.pack(">h", number), b"\xd2" + struct.pack(">i", number), b"\xd3" + struct.pack(">q", number)]
    return forms


def array_headers(size: int) -> list[bytes]:
    """Every legal header of a short array."""
    return [bytes([0x90 | size]), b"\xdc" + struct.pack(">H", size), b"\xdd" + struct.pack(">I", size)]


@st.composite
def parameters(draw: st.DrawFn, command: Command) -> list[Any]:
    """Sound parameters of a command."""
    values: list[Any] = []
    required = len(command.params) - command.optional
    for param in command.params[: draw(st.integers(required, len(command.params)))]:
        if param is Param.IDS:
            values.append(draw(st.one_of(strategies.given_ids(), st.lists(strategies.given_ids(), max_size=12))))
        elif param is Param.CURSOR:
            values.append(draw(CURSORS))
        elif param is Param.MEMBER:
            values.append(draw(MEMBERS))
        else:
            values.append(draw(st.integers(1, SCAN_LIMIT_MAX)))
    names: list[str] = draw(st.lists(st.sampled_from(command.options), unique=True)) if command.options else []
    with_options: bool = bool(names) or draw(st.booleans())
    if with_options:
        values.append({name: draw(OPTION_VALUES[name]) for name in names})
    return values


@st.composite
def sound_frames(draw: st.DrawFn) -> bytes:
    """A request or notification that is to be taken."""
    command = draw(st.sampled_from(list(COMMANDS.values())))
    values = draw(parameters(command))
    if command.notification and draw(st.booleans()):
        head = draw(st.sampled_from(array_headers(3))) + draw(st.sampled_from(long_forms(2)))
    else:
        head = draw(st.sampled_from(array_headers(4))) + draw(st.sampled_from(long_forms(0))) + wire.integer(draw(msgids()))
    return head + wire.value(command.name) + wire.value(values)


def odd_values() -> SearchStrategy[Any]:
    """Values that are no id, no option and no parameter, of every kind that MessagePack has."""
    scalars = st.one_of(
        st.none(),
        st.booleans(),
        st.floats(),
        st.integers(-(2**63), -1),
        st.binary(max_size=6),
        st.builds(lambda data: Raw(wire.text(data)), st.sampled_from([b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xc0\x80"])),
        st.builds(lambda code, data: Raw(wire.extension(code, data)), st.integers(-128, 127), st.binary(max_size=13)),
        st.just(Raw(b"\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff")),
    )
    return st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(st.tuples(inner, inner), max_size=3).map(lambda pairs: Pairs(tuple(pairs))),
        ),
        max_leaves=6,
    )


@st.composite
def refused_frames(draw: st.DrawFn) -> bytes:
    """A request or notification of the right shape, in which something is most likely wrong; the session goes on."""
    command = draw(st.sampled_from(list(COMMANDS.values())))
    method = draw(st.one_of(st.just(command.name), st.text(max_size=8).filter(_is_utf8), st.just(Raw(wire.text(b"\xff")))))
    values = draw(parameters(command))
    mutation = draw(st.sampled_from(["more", "fewer", "odd", "options"]))
    if mutation == "more":
        values.append(draw(odd_values()))
    elif mutation == "fewer" and values:
        values.pop()
    elif mutation == "odd" and values:
        values[draw(st.integers(0, len(values) - 1))] = draw(odd_values())
    else:
        pairs = draw(st.lists(st.tuples(st.one_of(odd_values(), st.sampled_from(list(OPTION_VALUES))), odd_values())))
        values.append(Pairs(tuple(pairs)))
    kind = [2] if draw(st.booleans()) else [0, draw(msgids())]
    return wire.value([*kind, method, values])


def fatal_frames() -> SearchStrategy[bytes]:
    """What ends a session: bytes that are not MessagePack, or a value that is neither request nor notification."""
    return st.one_of(
        st.just(b"\xc1"),
        st.just(b"\x91" * 2000),
        st.builds(wire.value, st.one_of(odd_values(), st.lists(odd_values(), max_size=5))),
        st.builds(lambda msgid: wire.value([1, msgid, None, 0]), msgids()),
        st.builds(lambda msgid: wire.value([0, msgid, "ping"]), msgids()),
        st.builds(lambda msgid: wire.value([0, msgid, 7, []]), msgids()),
        st.builds(lambda msgid: wire.value([0, msgid, "ping", None]), msgids()),
        st.sampled_from(
            [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"*1\r\n$4\r\nPING\r\n"]
        ),
    )


def streams() -> SearchStrategy[bytes]:
    """What a client may send: sound frames, refused ones among them, sometimes what ends the session, and half a frame."""
    frames = st.lists(st.one_of(sound_frames(), sound_frames(), refused_frames()), max_size=8).map(b"".join)
    ends = st.one_of(st.just(b""), st.just(b""), fatal_frames())
    rests = st.one_of(st.just(b""), sound_frames(), sound_frames().map(lambda frame: frame[: len(frame) // 2]))
    return st.tuples(frames, ends, rests).map(b"".join)


def server_messages() -> SearchStrategy[bytes]:
    """What a server may send: results, errors of known and unknown codes, notifications."""
    texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    results = st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(0, 2**64 - 1), texts, st.floats(allow_nan=False)),
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
        max_leaves=8,
    )
    events = st.lists(st.tuples(strategies.ids(), st.booleans(), st.integers(0, 2**41), st.just("timeout")), max_size=3)
    return st.one_of(
        st.builds(wire.result, msgids(), results),
        st.builds(wire.error, msgids(), st.one_of(st.sampled_from(list(ERRORS)), texts), texts),
        st.builds(lambda cursor, given: wire.notification("presence", cursor, given), texts, events),
    )


def malformed_answers() -> SearchStrategy[bytes]:
    """What no server of this protocol sends."""
    return st.one_of(
        st.just(b"\xc1"),
        st.just(wire.value({1: 2})),
        st.just(wire.value([1, 0, None, Pairs(((1, 2),))])),
        st.just(wire.value([1, 0, None, Pairs((([], 2),))])),
        st.just(wire.value([1, 0, None, Raw(wire.text(b"\xff"))])),
        st.just(wire.request(0, "ping")),
        st.builds(lambda error: wire.value([1, 0, error, None]), st.one_of(odd_values().filter(lambda v: v is not None))),
        st.builds(lambda msgid: wire.value([1, msgid, None, 0]), st.sampled_from([True, 1.0, "1", -1, 2**32, None])),
        st.just(wire.value([1, 0, ["busy", "b"], 7])),
        st.just(wire.value([1, 0, ["busy", "b", "c"], None])),
        st.just(wire.value([2, "presence", {}])),
        st.just(wire.value([2, 7, []])),
        st.just(wire.value([True, 0, None, None])),
    )


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

"""The parts that take what strangers send: each accepts it or refuses it in the one way it has, and does nothing else.

Where a target cuts a stream or picks an order, it does so by chance that comes from the input itself, so that an input alone
is enough to see again what it did.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from random import Random
from typing import Any

import msgpack

from presencedb.client.url import parse_url
from presencedb.credentials import Credentials, Principal, parse_secrets
from presencedb.errors import BadRequest, ConfigError, Error, ProtocolError, Unavailable
from presencedb.ids import Hasher, IdBatch, IdKind, canonical_id, canonical_json_id, id_text
from presencedb.limits import ID_INT_MAX, ID_TEXT_BYTES_MAX, RUN_FRAMES_MAX, SLOT_BITS
from presencedb.protocol import codec, codec_python
from presencedb.protocol.codec import ClientDecoder
from presencedb.protocol.messages import Malformed, Request, Response
from presencedb.protocol.session import ServerSession
from tests.conformance import wire
from tests.conformance.cases import CASES
from tests.fuzz.registry import Target, register
from tests.protocol.driving import MISREAD_BY_MSGPACK, answer, describe, frames_of
from tests.support.strategies import NEAR_DECIMAL_TEXTS, NEAR_UUID_TEXTS, NOT_TEXT_IDS

COLUMN_METHODS = ("status", "last_seen")
_HASHER = Hasher(0x0123456789ABCDEF)

CLIENT_STREAMS = tuple(
    exchange.sent
    for case in CASES
    for exchange in case.exchanges
    if isinstance(exchange.sent, bytes) and 0 < len(exchange.sent) <= 512
)
SERVER_STREAMS = (
    wire.result(0, "pong") + wire.result(1, [True, False, None]),
    wire.error(7, "busy", "at most 1024 requests in flight") + wire.error(8, "not_yet_invented", "what was wrong"),
    wire.notification("presence", "run.7", [[42, True, 1_790_000_000_000, "heartbeat"], ["é", False, 5, "timeout"]]),
    wire.notification("gap", "run.9", None) + wire.notification("gap", "run.9", [True, False, None]),
    wire.result(2, [1_790_000_000_000, None, 5])
    + wire.result(4, [None, False, True, 1])
    + wire.result(6, [None, -1, 2**63]),
    wire.error(0, "busy", "later") + wire.result(0, [True]) + wire.result(2, b"\x01\x00") + wire.result(4, None),
    wire.result(3, ["run.7", [True, False, None]]) + wire.notification("presence", "run.8", []),
    wire.result(2**32 - 1, {"protocol": 1, "limits": {"frame_bytes": 2**22}, "x": 1.5}),
)


def pieces(data: bytes) -> Iterator[bytes]:
    """The input as a stream that comes in pieces."""
    rng = Random(data)
    largest = rng.choice((1, 2, 7, 64, len(data) + 1))
    at = 0
    while at < len(data):
        size = rng.randrange(1, largest + 1)
        yield data[at : at + size]
        at += size


def gist(error: Error | None) -> str:
    """What kind of error it is, without the values in it."""
    return "" if error is None else error.code + re.sub(r"'.*'|[0-9]+", "", error.message)[:60]


# --- decoders and sessions -------------------------------------------------------------------------------------------


def _take_requests(decoder: codec_python.ServerDecoder, stream: Iterator[bytes]) -> list[Any]:
    """What a decoder makes of a stream, up to its end."""
    taken: list[Any] = []
    for piece in stream:
        decoder.feed(piece)
        while (message := decoder.next_message()) is not None:
            if isinstance(message, Request):
                assert (message.msgid is None) <= message.command.notification
                taken.append(describe(message))
                continue
            assert isinstance(message, Malformed)
            assert message.error.code in {"bad_request", "unknown_method", "too_large"}
            taken.append((message.msgid, gist(message.error), message.fatal))
            if message.fatal:
                return taken
    return taken


def _server_decoder(data: bytes) -> Hashable:
    taken = _take_requests(codec.ServerDecoder(), pieces(data))
    assert taken == _take_requests(codec.ServerDecoder(), iter([data])), "the cut of the stream makes a difference"
    if MISREAD_BY_MSGPACK not in data:
        assert taken == _take_requests(codec_python.ServerDecoder(), iter([data])), "the twin takes something else"
    return frozenset(entry[1] if len(entry) == 3 else entry[0] for entry in taken)


def _take_answers(decoder: codec_python.ClientDecoder, stream: Iterator[bytes]) -> list[str]:
    """What a decoder makes of a stream, up to its end."""
    taken: list[str] = []
    try:
        for piece in stream:
            decoder.feed(piece)
            while (message := decoder.next_message()) is not None:
                taken.append(repr(message))
    except ProtocolError as error:
        taken.append(repr(error))
    return taken


def _client_decoder(data: bytes) -> Hashable:
    """Every second msgid is that of a request whose answer is to come as a column."""
    columns = {msgid: COLUMN_METHODS[msgid // 2 % 2] for msgid in range(0, 12, 2)}
    taken = _take_answers(ClientDecoder(dict(columns)), pieces(data))
    assert taken == _take_answers(ClientDecoder(dict(columns)), iter([data])), "the cut of the stream makes a difference"
    if MISREAD_BY_MSGPACK not in data:
        by_twin = _take_answers(codec_python.ClientDecoder(dict(columns)), iter([data]))
        assert taken == by_twin, "the twin takes something else"
    return tuple(re.split(r"[(:]", entry)[0] + entry[-20:-14] for entry in taken[-4:])


def _server_session(data: bytes) -> Hashable:
    """Answers come late and in any order, and still there is one for each request, in order, in sound frames."""
    rng = Random(data)
    session = ServerSession(run_frames_max=rng.choice((1, 2, RUN_FRAMES_MAX)))
    waiting: list[Request] = []
    asked: list[int] = []
    out = b""
    for piece in pieces(data):
        session.receive_data(piece)
        while (request := session.next_request()) is not None:
            waiting.append(request)
            asked += [msgid for msgid, _ in frames_of(request) if msgid is not None]
        while waiting and rng.random() < 0.7:
            request = waiting.pop(rng.randrange(len(waiting)))
            if rng.random() < 0.2:
                session.fail(request, Unavailable("not now"))
            else:
                answer(session, request)
        out += session.data_to_send()
    for request in waiting:
        answer(session, request)
    out += session.data_to_send()
    assert session.drained
    assert session.data_to_send() == b""
    answers = _answers(out)
    served = iter(message.msgid for message in answers)
    assert all(msgid in served for msgid in asked), "an answer is missing or out of order"
    return frozenset(gist(message.error) for message in answers), gist(session.protocol_error)


def _answers(out: bytes) -> list[Response]:
    decoder = ClientDecoder({})
    decoder.feed(out)
    messages = list(iter(decoder.next_message, None))
    responses = [message for message in messages if isinstance(message, Response)]
    assert len(responses) == len(messages), "a session sends responses only"
    return responses


# --- ids -------------------------------------------------------------------------------------------------------------


def _ids(data: bytes) -> Hashable:
    """The input as one MessagePack value, or else as text."""
    try:
        value = msgpack.unpackb(data, unicode_errors="surrogatepass", strict_map_key=False)
    except (ValueError, TypeError):
        value = data.decode(errors="surrogateescape")
    try:
        canonical = canonical_id(value)
    except BadRequest as error:
        for take in (canonical_json_id, lambda given: IdBatch([given]), lambda given: IdBatch([*range(20), given])):
            _must_refuse(take, value)
        return gist(error)
    assert canonical == value or str(canonical) == value
    assert canonical_id(canonical) == canonical == canonical_id(id_text(canonical)) == canonical_json_id(id_text(canonical))
    assert list(IdBatch([value] * 9)) == [canonical] * 9
    if isinstance(canonical, int):
        assert 0 <= canonical <= ID_INT_MAX
    else:
        assert 1 <= len(canonical.encode()) <= ID_TEXT_BYTES_MAX
        assert "\0" not in canonical
    place = _HASHER.place(canonical)
    assert 0 <= place.slot < 1 << SLOT_BITS
    assert place.kind is IdKind.TEXT or _HASHER.id_of(place.kind, place.hash) == canonical
    return type(value).__name__, place.kind


def _must_refuse(take: Any, value: object) -> None:
    try:
        take(value)
    except BadRequest:
        return
    raise AssertionError(f"{take} took what is no id: {value!r}")


# --- text ------------------------------------------------------------------------------------------------------------


def _credentials(data: bytes) -> Hashable:
    """Every secret that the file grants is found; an error shows none of its text."""
    text = data.decode(errors="replace")
    try:
        entries = parse_secrets(text, "tokens")
    except ConfigError as error:
        shown = error.message
    else:
        return _found(entries)
    assert not [part for part in re.split(r"[\s:]", text) if len(part) > 12 and part in shown], "an error shows a secret"
    return re.sub(r"[0-9]+", "", shown)


def _found(entries: list[tuple[str, Principal]]) -> Hashable:
    credentials = Credentials(entries)
    assert len(credentials) == len(entries) > 0
    for secret, principal in entries:
        assert credentials.find(secret) == principal
        assert credentials.find(secret + "x") is None or any(secret + "x" == other for other, _ in entries)
        assert secret not in repr(credentials)
    return min(len(entries), 4), frozenset(principal.rights for _, principal in entries)


def _url(data: bytes) -> Hashable:
    """What a URL is taken for can be said as a URL again."""
    try:
        addresses = parse_url(data.decode(errors="surrogateescape"))
    except ConfigError as error:
        return re.split(r"['\"]", error.message)[0][:24]
    for address in addresses:
        assert parse_url(str(address)) == (address,)
    return min(len(addresses), 4), frozenset(type(address).__name__ for address in addresses)


register(Target("server-decoder", _server_decoder, CLIENT_STREAMS))
register(Target("client-decoder", _client_decoder, SERVER_STREAMS))
register(Target("server-session", _server_session, CLIENT_STREAMS))
register(
    Target(
        "ids",
        _ids,
        (
            *(
                wire.value(value)
                for value in (0, 42, 2**32, 2**64 - 1, -1, "42", "alice", None, True, 1.5, b"x", [1], {"a": 1})
            ),
            *(text.encode() for text in NEAR_DECIMAL_TEXTS + NEAR_UUID_TEXTS),
            *(wire.text(text.encode(errors="surrogatepass")) for text in NOT_TEXT_IDS),
        ),
    )
)
register(
    Target(
        "credentials",
        _credentials,
        (
            b"# tokens\napp:correct-horse-battery\nops:staple-of-the-day:read,admin\n\n",
            b"just-one-secret-alone",
            b"a:12345678:read\r\nb:87654321:write,cluster\r\n",
            b"a:12345678:\nb:12345678:",
            b":nameless-secret:read",
            b"",
        ),
    )
)
register(
    Target(
        "client-url",
        _url,
        (
            b"presence://127.0.0.1:7411",
            b"presence://r1,r2:7412,[::1]:9",
            b"presence+tls://example.com",
            b"presence+unix:///run/presencedb",
            b"presence://user:secret@host",
            b"http://host",
        ),
    )
)

"""`docs/protocol.md` says what the code does, no more and no less: its tables, its examples byte by byte, its hash."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from presencedb import limits
from presencedb.credentials import Credentials, Principal, Right
from presencedb.errors import ERRORS
from presencedb.ids import uuid_bits
from presencedb.node.node import Node, NodeSettings
from presencedb.protocol import greeting
from presencedb.protocol.commands import COMMANDS
from presencedb.protocol.info import METRICS
from presencedb.states import Reason
from tests.conformance import wire
from tests.conformance.runner import Connection
from tests.conformance.targets import lone_member
from tests.ids.hash_vectors import KEYS, VECTORS
from tests.support.waiting import wait_until_async

PAGE: Final = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
TOKEN: Final = "correct-horse"
SLOT_WIDTHS: Final = {0: 8, 1: 16, 2: 32, 3: 32}

LIMITS: Final[dict[str, int]] = {
    "bytes of a frame": limits.FRAME_BYTES_MAX,
    "ids in a batch": limits.IDS_PER_FRAME_MAX,
    "bytes of a text id": limits.ID_TEXT_BYTES_MAX,
    "requests of a connection in flight": limits.REQUESTS_IN_FLIGHT_MAX,
    "options of a request": limits.OPTIONS_MAX,
    "bytes of `token`, `client`, `version`": limits.OPTION_TEXT_BYTES_MAX,
    "bytes of a cursor": limits.CURSOR_BYTES_MAX,
    "`limit` of `online`": limits.SCAN_LIMIT_MAX,
    "`grace_ms`": limits.GRACE_MS_MAX,
    "`age_ms`": limits.AGE_MS_MAX,
    "`msgid`": limits.MSGID_MAX,
    "bytes of an unknown method's name that are repeated": limits.METHOD_BYTES_MAX,
    "slots": limits.SLOT_COUNT,
    "ids that a connection watches": limits.WATCHED_IDS_MAX,
    "changes in a `presence`": limits.FEED_FRAME_EVENTS_MAX,
    "changes kept for readers that come back": limits.FEED_EVENTS_MAX,
    "bytes of them": limits.FEED_BYTES_MAX,
    "milliseconds that they are kept without a reader": limits.FEED_LINGER_MS,
    "responses owed to a connection, refusals counted": limits.REPLIES_OWED_MAX,
    "bytes that wait for a connection that watches or follows": limits.EVENTS_HIGH_WATER_BYTES,
    "milliseconds that they are held back from it": limits.SLOW_READER_MS,
    "bytes that wait for a connection that does not read": limits.WRITE_HIGH_WATER_BYTES,
}
"""The table of limits, by its first column."""
NOT_OF_A_CLIENT: Final = {
    "READ_BUFFER_BYTES",
    "WRITE_LOW_WATER_BYTES",
    "LISTEN_BACKLOG",
    "TLS_HANDSHAKE_MS_MAX",
    "LAST_WORDS_MS_MAX",
    "KEEPALIVE_IDLE_S",
    "KEEPALIVE_INTERVAL_S",
    "KEEPALIVE_PROBES",
    "RUN_FRAMES_MAX",
    "RUN_IDS_MAX",
    "TURN_REQUESTS_MAX",
    "TURN_IDS_MAX",
    "TURN_REQUEST_IDS",
    "LOOP_TURN_IDS_MAX",
    "SMALL_INPUT_BYTES",
    "FEED_TURN_EVENTS_MAX",
    "FEED_PUSH_EVENTS",
    "FEED_UNTOLD_EVENTS_MAX",
    "EVENTS_LOW_WATER_BYTES",
    "EXPIRIES_PER_TURN_MAX",
}
"""Limits of the wire and the feed in `limits.py` that no client can run into."""


def tables(text: str) -> list[list[list[str]]]:
    """Every table as rows of cells, its headings first."""
    found = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    return [[[cell.strip() for cell in line[1:-1].split(" |")] for line in table.splitlines()] for table in found]


def rows(heading: str, text: str = PAGE) -> list[list[str]]:
    """The first table whose first heading is this, without its headings."""
    return next(table[2:] for table in tables(text) if table[0][0] == heading)


def section(title: str, level: str = "###") -> str:
    """The text under a heading, up to the next one of its level or above."""
    found = re.search(rf"^{level} {re.escape(title)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None, title
    return re.sub(r"^```.*?^```", "", found[1], flags=re.DOTALL | re.MULTILINE)


# --- tables ----------------------------------------------------------------------------------------------------------


def test_the_table_of_commands() -> None:
    assert rows("method") == [
        [f"[`{name}`](#{name})", _right_name(command.right), f"`{command.usage}`", command.result]
        for name, command in COMMANDS.items()
    ]


def test_there_is_a_section_for_every_command_and_no_other() -> None:
    assert re.findall(r"^### (.*)$", PAGE, re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_section_of_a_command(name: str) -> None:
    command = COMMANDS[name]
    notification = "yes" if command.notification else "no"
    first_line, text = section(name).strip().split("\n", 1)
    assert first_line == (
        f"`{name} {command.usage}` · right: {_right_name(command.right)} · as a notification: {notification}"
        f" · result: {command.result}"
    )
    explained = [
        option for bullet in re.findall(r"^- (`[^:]*`):", text, re.MULTILINE) for option in re.findall(r"`(\w+)`", bullet)
    ]
    positional = {param.value for param in command.params}
    assert sorted(set(explained) - positional) == sorted(command.options)


def test_the_table_of_errors() -> None:
    assert [(code, again) for code, again, _ in rows("code")] == [
        (f"`{code}`", "yes, later" if cls.retryable else "no") for code, cls in ERRORS.items()
    ]


def test_no_other_command_option_or_error_is_named() -> None:
    later = {"pages_out", "pages_in", "ages", "missed"} - set(COMMANDS)
    assert not later & set(re.findall(r"`(\w+)`", PAGE))


def test_the_table_of_reasons() -> None:
    reasons = {reason.text for reason in Reason}
    assert {name.strip("`") for name, _, _ in rows("reason")} <= reasons
    # What a node that stands alone tells; the others come with clusters.
    assert {name.strip("`") for name, _, _ in rows("reason")} == reasons - {Reason.KNOWN.text, Reason.UNKNOWN.text}


def test_the_table_of_limits() -> None:
    assert {name: int(value.replace(",", "")) for name, _, value, _ in rows("limit")} == LIMITS
    told = {column.strip("`"): int(value.replace(",", "")) for _, column, value, _ in rows("limit") if column}
    assert told == greeting.LIMITS


def test_every_limit_of_the_wire_and_the_feed_is_in_the_table() -> None:
    source = Path(limits.__file__).read_text(encoding="utf-8")
    part = source[source.index("# --- the wire") : source.index("# --- clients")]
    names = set(re.findall(r"^([A-Z_0-9]+): Final", part, re.MULTILINE))
    assert names >= NOT_OF_A_CLIENT
    missing = {name for name in names - NOT_OF_A_CLIENT if getattr(limits, name) not in LIMITS.values()}
    assert not missing


def test_codes_in_the_table_of_limits_are_errors() -> None:
    codes = {code for *_, above in rows("limit") for code in re.findall(r"`(\w+)`", above)}
    assert codes <= set(ERRORS)


def test_the_entries_of_info() -> None:
    keys = [key.strip("`") for row in rows("key", section("info")) for key in row[0].split(", ")]
    plain = ["version", "node", "run", "ttl_ms", "tick_ms", "retention", "engine", "loop"]
    assert keys == plain + list(METRICS)


def test_every_link_leads_somewhere() -> None:
    anchors = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) <= anchors


# --- examples --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Arrow:
    """One line of an example: bytes that are sent, or come back; `pattern` matches them."""

    sent: bool
    text: str
    comment: str

    @property
    def data(self) -> bytes:
        return bytes.fromhex(self.text)

    @property
    def is_exact(self) -> bool:
        return "?" not in self.text and "..." not in self.text

    @property
    def pattern(self) -> re.Pattern[bytes]:
        parts = {"...": b".*", "??": b"."}
        return re.compile(
            b"".join(parts[part] if part in parts else re.escape(bytes.fromhex(part)) for part in self.text.split()),
            re.DOTALL,
        )


def examples() -> Iterator[tuple[str, list[Arrow]]]:
    """The examples: what the fence says of the server, and the lines."""
    for setting, body in re.findall(r"^```bytes ?(\w*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        comment = ""
        arrows: list[Arrow] = []
        for line in body.splitlines():
            if line.startswith("# "):
                comment = line[2:]
                continue
            if line.startswith("   "):
                arrows[-1] = replace(arrows[-1], text=arrows[-1].text + line[2:])
                continue
            assert line[:3] in {"-> ", "<- "}, line
            arrows.append(Arrow(line[0] == "-", line[3:], comment))
            comment = ""
        yield setting, arrows


EXAMPLES: Final = list(examples())


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 10
    called = b"".join(arrow.data for _, arrows in EXAMPLES for arrow in arrows if arrow.sent)
    named = {name for name in COMMANDS if wire.value(name) in called}
    assert named == set(COMMANDS) - {"topology"}


@pytest.mark.parametrize("arrows", [arrows for _, arrows in EXAMPLES])
def test_the_comment_above_bytes_says_what_they_are(arrows: list[Arrow]) -> None:
    for arrow in arrows:
        if arrow.is_exact and arrow.text != "closed":
            assert wire.value(json.loads(arrow.comment)) == arrow.data


@pytest.mark.parametrize(("setting", "arrows"), EXAMPLES)
async def test_a_node_answers_as_the_example_says(setting: str, arrows: list[Arrow], tmp_path: Path) -> None:
    credentials = Credentials([(TOKEN, Principal("example", frozenset({Right.READ, Right.WRITE})))])
    settings = NodeSettings(
        listen=("127.0.0.1", 0),
        credentials=credentials if setting == "token" else None,
        cluster=lone_member(tmp_path) if setting == "member" else None,
    )
    node = Node(settings)
    await node.start()
    try:
        await wait_until_async(lambda: node.ready)
        assert node.tcp_address is not None
        await asyncio.to_thread(play, arrows, node.tcp_address)
    finally:
        await node.stop()


def play(arrows: list[Arrow], address: tuple[str, int]) -> None:
    connection = Connection(address)
    try:
        for arrow in arrows:
            if arrow.sent:
                connection.send(arrow.data, None)
            elif arrow.text != "closed":
                data, found = connection.receive()
                assert arrow.pattern.fullmatch(data), (arrow, data.hex(" "), found)
        if arrows[-1].text != "closed":
            connection.finish()
        assert connection.receive_to_end() == b""
    finally:
        connection.close()


# --- the hash --------------------------------------------------------------------------------------------------------


def program() -> dict[str, Any]:
    """What the program on the page defines."""
    found = re.search(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    names: dict[str, Any] = {}
    exec(found[1], names)
    return names


def test_the_program_gives_every_vector() -> None:
    names = program()
    for seed, keys in KEYS.items():
        assert tuple(names["keys"](seed)) == keys
    for vector in VECTORS:
        value = uuid_bits(str(vector.id)) if vector.kind == 2 else vector.id
        found = names["hash_of"](int(vector.kind), value, vector.seed)
        assert found == vector.hash
        assert names["slot_of"](int(vector.kind), found) == vector.slot


def test_the_vectors_on_the_page_are_the_pinned_ones() -> None:
    pinned = {
        (
            f"`{v.seed:016X}`",
            f"`{json.dumps(v.id, ensure_ascii=False)}`",
            str(int(v.kind)),
            str(v.slot),
            f"`{v.hash:0{SLOT_WIDTHS[v.kind]}X}`",
        )
        for v in VECTORS
    }
    _, hashes = (table for table in tables(PAGE) if table[0][0] == "seed")
    shown = {tuple(row) for row in hashes[2:]}
    assert shown <= pinned
    assert {row[2] for row in shown} == {"0", "1", "2", "3"}


def test_the_keys_on_the_page_are_the_pinned_ones() -> None:
    for seed, *keys in rows("seed"):
        assert keys == [f"`{key:016X}`" for key in KEYS[int(seed.strip("`"), 16)][: len(keys)]]


def test_the_port_on_the_page_is_the_default() -> None:
    assert NodeSettings().listen == ("127.0.0.1", 7411)
    assert "port 7411" in PAGE


def _right_name(right: Right | None) -> str:
    return "none" if right is None else right.value

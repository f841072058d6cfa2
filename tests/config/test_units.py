"""How durations, addresses, switches are written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presencedb import units
from presencedb.limits import RETENTION_MS_MAX


@pytest.mark.parametrize(
    ("text", "duration_ms"),
    [
        ("30", 30_000),
        ("1.5", 1_500),
        (".1", 100),
        ("2.", 2_000),
        ("0", 0),
        ("500ms", 500),
        ("1.5s", 1_500),
        ("5m", 300_000),
        ("12h", 43_200_000),
        ("30d", 2_592_000_000),
        (" 30 s ", 30_000),
        ("0.001", 1),
        ("0.0010", 1),
        ("100.0ms", 100),
    ],
)
def test_durations(text: str, duration_ms: int) -> None:
    assert units.parse_duration_ms(text) == duration_ms


def test_a_bare_number_is_in_the_unit_of_its_option() -> None:
    assert units.parse_duration_ms("100", "ms") == 100
    assert units.parse_duration_ms("0.1s", "ms") == 100


@pytest.mark.parametrize("text", ["", "abc", "-1", "+1", "1e3", "1,5", "1 2", "3w", "3S", "nan", "inf", "٣", "1" * 10_000])
def test_what_is_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match="it takes a duration such as"):
        units.parse_duration_ms(text)


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (0, "0s"),
        (1, "1ms"),
        (999, "999ms"),
        (1_000, "1s"),
        (1_500, "1.5s"),
        (2_900, "2.9s"),
        (9_666, "9.666s"),
        (90_000, "90s"),
        (90_500, "90.5s"),
        (120_000, "2m"),
        (86_400_000, "1d"),
    ],
)
def test_durations_as_a_person_reads_them(duration_ms: int, text: str) -> None:
    assert units.duration_text(duration_ms) == text


@pytest.mark.parametrize("text", ["0.0004", "1.0005s", "100.5ms", "0.00000000001d"])
def test_a_part_of_a_millisecond_is_refused_rather_than_rounded(text: str) -> None:
    with pytest.raises(ValueError, match="it takes whole milliseconds"):
        units.parse_duration_ms(text)


@given(st.integers(0, RETENTION_MS_MAX))
def test_a_duration_is_read_back_as_it_was_written(duration_ms: int) -> None:
    assert units.parse_duration_ms(units.duration_text(duration_ms)) == duration_ms


@given(st.text())
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        duration_ms = units.parse_duration_ms(text)
    except ValueError:
        return
    assert duration_ms >= 0


@pytest.mark.parametrize(
    ("text", "address", "written"),
    [
        ("127.0.0.1:7411", ("127.0.0.1", 7411), "127.0.0.1:7411"),
        ("0.0.0.0:0", ("0.0.0.0", 0), "0.0.0.0:0"),
        ("[::1]:7411", ("::1", 7411), "[::1]:7411"),
        ("node-1.example.com:65535", ("node-1.example.com", 65535), "node-1.example.com:65535"),
        ("7500", ("127.0.0.1", 7500), "127.0.0.1:7500"),
    ],
)
def test_addresses(text: str, address: tuple[str, int], written: str) -> None:
    assert units.parse_address(text) == address
    assert str(units.parse_address(text)) == written


@pytest.mark.parametrize(
    "text", ["", ":7411", "host:", "host", "::1:7411", "host:65536", "a b:1", "h:-1", "[::1]", "http://h:1"]
)
def test_what_is_not_an_address(text: str) -> None:
    with pytest.raises(ValueError, match="it takes"):
        units.parse_address(text)


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("2", [("n1", "127.0.0.1:0", 100), ("n2", "127.0.0.1:0", 100)]),
        ("a=7411", [("a", "127.0.0.1:7411", 100)]),
        ("a=h:1*200, b.c=[::1]:2*0", [("a", "h:1", 200), ("b.c", "[::1]:2", 0)]),
    ],
)
def test_nodes(text: str, places: list[tuple[str, str, int]]) -> None:
    assert [(place.name, str(place.address), place.weight) for place in units.parse_nodes(text)] == places


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it takes a number of nodes, or NAME=HOST:PORT"),
        ("n1", "it takes a number of nodes, or NAME=HOST:PORT"),
        ("a=1,", "it takes a number of nodes, or NAME=HOST:PORT"),
        ("0", "out of range, it takes 1 to 1024"),
        ("1025", "out of range, it takes 1 to 1024"),
        ("a=1,b=2,a=3", "there are two nodes called a"),
        ("=1", "it takes 1 to 63 letters"),
        ("a=h", "it takes HOST:PORT"),
        ("a=1*", "it takes a whole number, 0 to 1000"),
        ("a=1*1001", "out of range, it takes 0 to 1000"),
        (",".join(f"n{n}=1" for n in range(1025)), "a cluster has at most 1024 nodes"),
    ],
)
def test_what_is_no_list_of_nodes(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        units.parse_nodes(text)


def test_a_list_of_members_is_a_file() -> None:
    assert units.parse_membership("static:a/b.toml") == Path("a/b.toml")
    for text in ("", "a.toml", "static:", "etcd:a", "static"):
        with pytest.raises(ValueError, match="it takes static:FILE"):
            units.parse_membership(text)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_what_is_this_machine_only(host: str, expected: bool) -> None:
    assert units.is_loopback(host) is expected


@pytest.mark.parametrize(
    ("text", "retention_ms"), [("online", 0), ("forever", None), ("30d", 2_592_000_000), ("12h", 43_200_000)]
)
def test_retentions(text: str, retention_ms: int | None) -> None:
    assert units.parse_retention_ms(text) == retention_ms


@pytest.mark.parametrize("text", ["", "always", "0", "1ms", "101y", "40000d"])
def test_what_is_not_a_retention(text: str) -> None:
    with pytest.raises(ValueError, match="it takes online, forever, or"):
        units.parse_retention_ms(text)

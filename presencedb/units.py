"""How a person writes a duration, an address, a switch, a path: text in, exact values out, and back for messages.

Each parser raises `ValueError` with what it takes, worded to stand behind the value: "it takes ...".
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Final, NamedTuple

from presencedb.limits import DAY_MS, MEMBERS_MAX, RETENTION_MS_MAX, SECOND_MS, TICK_MS_MIN, WEIGHT_DEFAULT, WEIGHT_MAX

UNITS_MS: Final = {"ms": 1, "s": SECOND_MS, "m": 60 * SECOND_MS, "h": 3600 * SECOND_MS, "d": DAY_MS}
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+) ?(ms|s|m|h|d)?", re.ASCII)
_DIGITS_MAX: Final = 20
"""Longer numbers are out of every range; the bound keeps one of a million digits from costing anything."""
_PORT_MAX: Final = 2**16 - 1
_SWITCHES: Final = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


class Address(NamedTuple):
    """A host name or IP address, and a TCP port; port 0 as a place to listen means any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class NodePlace(NamedTuple):
    """A node of a cluster: its name, where it listens, and its share of the users, relative to the others'."""

    name: str
    address: Address
    weight: int = WEIGHT_DEFAULT


def parse_duration_ms(text: str, unit: str = "s") -> int:
    """Milliseconds: "30", "1.5s", "500ms", "12h", "30d". What is no whole number of them is refused, never rounded.

    Args:
        unit: what a number without a unit means.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None or len(match[1]) > _DIGITS_MAX:
        raise ValueError(f"it takes a duration such as 500ms, 1.5s, 5m, 12h or 30d; a bare number is in {unit}")
    duration_ms = Decimal(match[1]) * UNITS_MS[match[2] or unit]
    if duration_ms != int(duration_ms):
        raise ValueError("it takes whole milliseconds")
    return int(duration_ms)


def duration_text(duration_ms: int) -> str:
    """A duration in the largest unit that needs no fraction, or in seconds with one: "30s", "1d", "500ms", "1.5s"."""
    if duration_ms > SECOND_MS and duration_ms % SECOND_MS:
        return f"{Decimal(duration_ms) / SECOND_MS:f}s"
    for unit, unit_ms in reversed(UNITS_MS.items()):
        if duration_ms % unit_ms == 0 and duration_ms:
            return f"{duration_ms // unit_ms}{unit}"
    return "0s"


def duration_between(low_ms: int, high_ms: int, *, unit: str = "s", takes: str = "") -> Callable[[str], int]:
    """A parser of durations within bounds, both included. `takes` words the range where its numbers alone would not."""
    range_text = takes or f"{duration_text(low_ms)} to {duration_text(high_ms)}"

    def parse(text: str) -> int:
        duration_ms = parse_duration_ms(text, unit)
        if not low_ms <= duration_ms <= high_ms:
            raise ValueError(f"out of range, it takes {range_text}")
        return duration_ms

    return parse


def count_between(low: int, high: int) -> Callable[[str], int]:
    """A parser of whole numbers within bounds, both included."""

    def parse(text: str) -> int:
        digits = text.strip()
        if not (digits.isascii() and digits.isdigit()):
            raise ValueError(f"it takes a whole number, {low} to {high}")
        if len(digits) > _DIGITS_MAX or not low <= int(digits) <= high:
            raise ValueError(f"out of range, it takes {low} to {high}")
        return int(digits)

    return parse


def parse_address(text: str) -> Address:
    """`HOST:PORT`, `[IPV6]:PORT`, or a port alone, which is one on 127.0.0.1."""
    takes = "it takes HOST:PORT such as 127.0.0.1:7411, [::1]:7411, or 0.0.0.0:7411 for all interfaces"
    host, colon, port_text = text.strip().rpartition(":")
    if not colon:
        host = "127.0.0.1"
    elif host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"an IPv6 address stands in brackets; {takes}")
    if not host or re.search(r"[\s/\[\]@]", host):
        raise ValueError(takes)
    if not (port_text.isascii() and port_text.isdigit()):
        raise ValueError(takes)
    if len(port_text) > _DIGITS_MAX or int(port_text) > _PORT_MAX:
        raise ValueError(f"a port is out of range, it takes 0 to {_PORT_MAX} (0: any free one)")
    return Address(host, int(port_text))


def parse_switch(text: str) -> bool:
    """true or false, as a person writes them in a variable."""
    switch = _SWITCHES.get(text.strip().lower())
    if switch is None:
        raise ValueError("it takes true or false")
    return switch


def one_of(*choices: str) -> Callable[[str], str]:
    """A parser that takes one of a few words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"it takes {' or '.join(choices)}")
        return text

    return parse


def parse_address_or_off(text: str) -> Address | None:
    """An address, or the word that says: do not listen."""
    return None if text == "off" else parse_address(text)


def parse_retention_ms(text: str) -> int | None:
    """How long to remember who is not online: 0 (`online`), None (`forever`), or milliseconds."""
    if text in ("online", "forever"):
        return 0 if text == "online" else None
    try:
        retention_ms = parse_duration_ms(text)
    except ValueError:
        raise ValueError("it takes online, forever, or a duration such as 12h or 30d") from None
    if not TICK_MS_MIN <= retention_ms <= RETENTION_MS_MAX:
        raise ValueError(f"out of range, it takes online, forever, or the ttl to {duration_text(RETENTION_MS_MAX)}")
    return retention_ms


def parse_name(text: str) -> str:
    """A name of a node, safe in a label, a file name and a line of log."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", text):
        raise ValueError("it takes 1 to 63 letters, digits, dots, dashes and underscores, the first a letter or digit")
    return text


def parse_membership(text: str) -> Path:
    """`static:FILE`: where the list of members is."""
    kind, colon, path = text.partition(":")
    if kind != "static" or not colon or not path:
        raise ValueError("it takes static:FILE, the list of members that `presencedb cluster init` writes")
    return parse_path(path)


def parse_nodes(text: str) -> tuple[NodePlace, ...]:
    """`NAME=HOST:PORT` or `NAME=HOST:PORT*WEIGHT` for each, divided by commas; or how many: n1, n2, ... on free ports."""
    if text.strip().isdigit():
        count = count_between(1, MEMBERS_MAX)(text)
        return tuple(NodePlace(f"n{number}", Address("127.0.0.1", 0)) for number in range(1, count + 1))
    places = tuple(_parse_node(part.strip()) for part in text.split(","))
    names = [place.name for place in places]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"there are two nodes called {twice}")
    if len(places) > MEMBERS_MAX:
        raise ValueError(f"a cluster has at most {MEMBERS_MAX} nodes")
    return places


def _parse_node(text: str) -> NodePlace:
    name, equals, place = text.partition("=")
    if not equals:
        raise ValueError("it takes a number of nodes, or NAME=HOST:PORT[*WEIGHT] for each, divided by commas")
    address, star, weight = place.partition("*")
    return NodePlace(
        parse_name(name.strip()),
        parse_address(address),
        count_between(0, WEIGHT_MAX)(weight) if star else WEIGHT_DEFAULT,
    )


def parse_path(text: str) -> Path:
    """A path; whether there is such a file is found out by whoever opens it."""
    if not text or "\0" in text:
        raise ValueError("it takes a path")
    return Path(text)


def parse_text(text: str) -> str:
    """Text that is not blank."""
    if not text.strip():
        raise ValueError("it takes text")
    return text


def parse_http_url(text: str) -> str:
    """A URL of the web, plain or TLS."""
    if not re.match(r"https?://[^/\s]+", text):
        raise ValueError("it takes a URL such as https://login.example.com/.well-known/jwks.json")
    return text


def is_loopback(host: str) -> bool:
    """Whether a host is this machine and nothing else: `localhost`, 127.0.0.0/8 or ::1."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

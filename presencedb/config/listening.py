"""Where servers listen."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from presencedb import units
from presencedb.config.option import HTTP_SERVERS, SERVERS, TCP_SERVERS, Group, Option
from presencedb.units import Address

LISTEN: Final[Option[Address | None]] = Option(
    name="listen",
    parse=units.parse_address_or_off,
    default=Address("127.0.0.1", 7411),
    default_text="127.0.0.1:7411",
    metavar="HOST:PORT",
    group=Group.LISTEN,
    commands=TCP_SERVERS,
    help="Where MessagePack-RPC is served over TCP. Port 0 takes a free one; `off` serves none. A member of a cluster "
    "listens where the list says, a router on port 7413, if nothing else is said.",
)
UNIX: Final[Option[Path | None]] = Option(
    name="unix",
    parse=units.parse_path,
    default=None,
    metavar="PATH",
    group=Group.LISTEN,
    commands=TCP_SERVERS,
    help="Serve MessagePack-RPC on a Unix socket at this path too.",
)
HTTP: Final[Option[Address]] = Option(
    name="http",
    parse=units.parse_address,
    default=Address("127.0.0.1", 7412),
    default_text="127.0.0.1:7412",
    metavar="HOST:PORT",
    group=Group.LISTEN,
    commands=HTTP_SERVERS,
    help="Where HTTP is served. Port 0 takes a free one.",
)
METRICS_LISTEN: Final[Option[Address | None]] = Option(
    name="metrics-listen",
    parse=units.parse_address,
    default=None,
    metavar="HOST:PORT",
    group=Group.LISTEN,
    commands=HTTP_SERVERS,
    help="Serve /metrics, /healthz and /readyz here as well, without keys, for scrapers.",
)
INSECURE: Final[Option[bool]] = Option(
    name="insecure",
    parse=units.parse_switch,
    default=False,
    group=Group.LISTEN,
    commands=SERVERS,
    help="Listen beyond loopback although no token or key is asked for.",
)

"""How a process runs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from presencedb import limits, units
from presencedb.config.option import EVERYWHERE, SERVERS, Group, Option

CONFIG: Final[Option[Path | None]] = Option(
    name="config",
    parse=units.parse_path,
    default=None,
    metavar="FILE",
    group=Group.RUNNING,
    commands=EVERYWHERE,
    help="A TOML file whose keys are the names of these options. The command line and the environment win over it.",
)
DRAIN_TIMEOUT: Final[Option[int]] = Option(
    name="drain-timeout",
    parse=units.duration_between(0, 600 * limits.SECOND_MS),
    default=5 * limits.SECOND_MS,
    default_text="5",
    metavar="SECONDS",
    group=Group.RUNNING,
    commands=SERVERS,
    help="How long open requests may take to finish after SIGTERM or SIGINT (0 to 10m). A second signal ends at once.",
)
LOG_FORMAT: Final[Option[str]] = Option(
    name="log-format",
    parse=units.one_of("text", "json"),
    default="text",
    default_text="text",
    choices=("text", "json"),
    metavar="text|json",
    group=Group.RUNNING,
    commands=SERVERS,
    help="How logs are written to stderr.",
)
LOG_LEVEL: Final[Option[str]] = Option(
    name="log-level",
    parse=units.one_of("debug", "info", "warning", "error"),
    default="info",
    default_text="info",
    choices=("debug", "info", "warning", "error"),
    metavar="LEVEL",
    group=Group.RUNNING,
    commands=SERVERS,
    help="The least that is logged: debug, info, warning or error.",
)
CHILD: Final[Option[bool]] = Option(
    name="child",
    parse=units.parse_switch,
    default=False,
    group=Group.RUNNING,
    commands=frozenset({"node", "router", "gateway"}),
    help="End as by SIGTERM when stdin is closed, and print no banner: for a program that starts it through a pipe and is "
    "to leave nothing behind, however it ends.",
)

"""Every option once: its name, parser, default, meaning, and the commands that take it.

An option `ttl` is the flag `--ttl`, the environment variable `PRESENCEDB_TTL` and the key `ttl` of the TOML file that
`--config` names. Help, documentation and `settings.py`, which reads them, all work from this table.
"""

from __future__ import annotations

from typing import Any, Final

from presencedb.config.asking import CURSOR, EVERY, GRACE, JSON, LIMIT, TIMEOUT, URL
from presencedb.config.cluster import DATA_DIR, MEMBERSHIP, NODES, OUTPUT, REPLICAS, RESTART, ROUTER_ID
from presencedb.config.listening import HTTP, INSECURE, LISTEN, METRICS_LISTEN, UNIX
from presencedb.config.option import PREFIX, Group, Option
from presencedb.config.presence import NODE_ID, RETENTION, TICK, TTL, WARM_UP
from presencedb.config.running import CHILD, CONFIG, DRAIN_TIMEOUT, LOG_FORMAT, LOG_LEVEL
from presencedb.config.secrets import (
    API_KEYS,
    CLUSTER_TOKEN_FILE,
    JWKS_URL,
    JWT_AUDIENCE,
    JWT_ISSUER,
    JWT_KEY,
    TLS_CA,
    TLS_CERT,
    TLS_KEY,
    TOKEN_FILE,
)

__all__ = [
    "API_KEYS",
    "CHILD",
    "CLUSTER_TOKEN_FILE",
    "CONFIG",
    "CURSOR",
    "DATA_DIR",
    "DRAIN_TIMEOUT",
    "EVERY",
    "GRACE",
    "HTTP",
    "INSECURE",
    "JSON",
    "JWKS_URL",
    "JWT_AUDIENCE",
    "JWT_ISSUER",
    "JWT_KEY",
    "LIMIT",
    "LISTEN",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "MEMBERSHIP",
    "METRICS_LISTEN",
    "NODES",
    "NODE_ID",
    "OPTIONS",
    "OTHER_VARIABLES",
    "OUTPUT",
    "PREFIX",
    "REPLICAS",
    "RESTART",
    "RETENTION",
    "ROUTER_ID",
    "TICK",
    "TIMEOUT",
    "TLS_CA",
    "TLS_CERT",
    "TLS_KEY",
    "TOKEN_FILE",
    "TOKEN_VARIABLE",
    "TTL",
    "UNIX",
    "URL",
    "WARM_UP",
    "Group",
    "Option",
    "options_of",
]

TOKEN_VARIABLE: Final = "PRESENCEDB_TOKEN"  # noqa: S105 - the name of one, not a token
"""A token itself, for those who cannot leave a file. It is not an option: on a command line everybody could read it."""
OTHER_VARIABLES: Final = {
    TOKEN_VARIABLE: "the token to show; on a server, the one token to accept",
    "PRESENCEDB_IMPL": "`c` or `python`: which engine must run; without it the compiled one, where there is one",
}
"""Variables with the prefix that are not options."""


def _table(*options: Option[Any]) -> dict[str, Option[Any]]:
    table = {option.name: option for option in options}
    if len(table) != len(options) or len({option.variable for option in options} | set(OTHER_VARIABLES)) != (
        len(options) + len(OTHER_VARIABLES)
    ):
        raise TypeError("an option or variable is declared twice")
    return table


OPTIONS: Final = _table(
    EVERY, GRACE, LIMIT, CURSOR, OUTPUT, LISTEN, UNIX, HTTP, METRICS_LISTEN, INSECURE, TTL, TICK, RETENTION, WARM_UP,
    NODE_ID, MEMBERSHIP, NODES, REPLICAS, DATA_DIR, ROUTER_ID, RESTART, URL, TIMEOUT, TOKEN_FILE, CLUSTER_TOKEN_FILE,
    API_KEYS, JWT_KEY, JWKS_URL, JWT_AUDIENCE, JWT_ISSUER, TLS_CERT, TLS_KEY, TLS_CA,
    CONFIG, DRAIN_TIMEOUT, LOG_FORMAT, LOG_LEVEL, CHILD, JSON,
)  # fmt: skip
"""Every option, by name."""


def options_of(command: str) -> list[Option[Any]]:
    """The options that a command takes, in the order of the table."""
    return [option for option in OPTIONS.values() if command in option.commands]

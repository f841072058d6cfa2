"""Every option once: its name, parser, default, meaning, and the commands that take it.

An option `ttl` is the flag `--ttl`, the environment variable `PRESENCEDB_TTL` and the key `ttl` of the TOML file that
`--config` names. Help, documentation and `settings.py`, which reads them, all work from this table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from presencedb import limits, units
from presencedb.units import Address

T_co = TypeVar("T_co", covariant=True)

PREFIX: Final = "PRESENCEDB_"
TOKEN_VARIABLE: Final = "PRESENCEDB_TOKEN"  # noqa: S105 - the name of one, not a token
"""A token itself, for those who cannot leave a file. It is not an option: on a command line everybody could read it."""
OTHER_VARIABLES: Final = {
    TOKEN_VARIABLE: "the token to show; on a server, the one token to accept",
    "PRESENCEDB_IMPL": "`c` or `python`: which engine must run; without it the compiled one, where there is one",
}
"""Variables with the prefix that are not options."""

ENGINE: Final = frozenset({"serve", "node"})
HTTP_SERVERS: Final = frozenset({"serve", "gateway"})
SERVERS: Final = ENGINE | HTTP_SERVERS
CALLS: Final = frozenset(
    {"heartbeat", "offline", "status", "last-seen", "watch", "count", "online", "follow", "info", "ping"}
)
CLIENTS: Final = CALLS | {"gateway"}
EVERYWHERE: Final = SERVERS | CALLS


class Group(Enum):
    """The headings under which `--help` and the documentation list options."""

    CALL = "This command"
    PRESENCE = "Presence"
    LISTEN = "Where it listens"
    SERVER = "The server to ask"
    SECRETS = "Secrets"
    RUNNING = "Running"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Option(Generic[T_co]):
    """One option.

    Attributes:
        name: the flag without its dashes, and the key in the file.
        parse: text to value; raises ValueError with what it takes.
        default: the value, already parsed.
        default_text: how the documentation writes the default; empty: there is none (a switch: false).
        metavar: what stands for the value in `--help`; empty: a switch.
        choices: the words it takes, where these are all.
        flag_only: it belongs to one call, so it is neither a variable nor a key.
        may_hold_secret: messages name the option and not its value, in which there may be a password by mistake.
    """

    name: str
    parse: Callable[[str], T_co]
    default: T_co
    default_text: str = ""
    metavar: str = ""
    choices: tuple[str, ...] = ()
    group: Group
    commands: frozenset[str]
    help: str
    flag_only: bool = False
    may_hold_secret: bool = False

    @property
    def flag(self) -> str:
        return f"--{self.name}"

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper().replace("-", "_")


LISTEN: Final[Option[Address | None]] = Option(
    name="listen",
    parse=units.parse_address_or_off,
    default=Address("127.0.0.1", 7411),
    default_text="127.0.0.1:7411",
    metavar="HOST:PORT",
    group=Group.LISTEN,
    commands=ENGINE,
    help="Where MessagePack-RPC is served over TCP. Port 0 takes a free one; `off` serves none.",
)
UNIX: Final[Option[Path | None]] = Option(
    name="unix",
    parse=units.parse_path,
    default=None,
    metavar="PATH",
    group=Group.LISTEN,
    commands=ENGINE,
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
TTL: Final[Option[int]] = Option(
    name="ttl",
    parse=units.duration_between(
        1, limits.TTL_MS_MAX, takes=f"one tick to a year (0.05 to {limits.TTL_MS_MAX // limits.SECOND_MS} seconds)"
    ),
    default=limits.TTL_MS_DEFAULT,
    default_text="30",
    metavar="SECONDS",
    group=Group.PRESENCE,
    commands=ENGINE,
    help="How long a heartbeat keeps a user online: one tick to a year, fractions and units (1.5, 500ms, 5m) allowed.",
)
TICK: Final[Option[int]] = Option(
    name="tick",
    parse=units.duration_between(
        limits.TICK_MS_MIN, limits.TICK_MS_MAX, unit="ms", takes=f"{limits.TICK_MS_MIN} to {limits.TICK_MS_MAX} milliseconds"
    ),
    default=limits.TICK_MS_DEFAULT,
    default_text=str(limits.TICK_MS_DEFAULT),
    metavar="MS",
    group=Group.PRESENCE,
    commands=ENGINE,
    help="The grain of time, in milliseconds, 50 to 1000: an offline event comes within one or two ticks.",
)
RETENTION: Final[Option[int | None]] = Option(
    name="retention",
    parse=units.parse_retention_ms,
    default=0,
    default_text="online",
    metavar="online|forever|DURATION",
    group=Group.PRESENCE,
    commands=ENGINE,
    help="How long last_seen is kept: only while online, for ever, or for 12h, 30d and so on after the last heartbeat.",
)
WARM_UP: Final[Option[bool]] = Option(
    name="warm-up",
    parse=units.parse_switch,
    default=False,
    group=Group.PRESENCE,
    commands=ENGINE,
    help="For one ttl after the start, answer unknown instead of offline for whoever has not beaten yet.",
)
NODE_ID: Final[Option[str]] = Option(
    name="node-id",
    parse=units.parse_name,
    default="n1",
    default_text="n1",
    metavar="NAME",
    group=Group.PRESENCE,
    commands=ENGINE,
    help="The name of this node in `info` and `topology`.",
)
URL: Final[Option[str]] = Option(
    name="url",
    parse=units.parse_text,
    default="presence://127.0.0.1:7411",
    default_text="presence://127.0.0.1:7411",
    metavar="URL",
    group=Group.SERVER,
    commands=CLIENTS,
    help="The server: presence://HOST:PORT, presence+tls://HOST:PORT or presence+unix:///PATH.",
    may_hold_secret=True,
)
TIMEOUT: Final[Option[int]] = Option(
    name="timeout",
    parse=units.duration_between(10, 3600 * limits.SECOND_MS),
    default=5 * limits.SECOND_MS,
    default_text="5",
    metavar="SECONDS",
    group=Group.SERVER,
    commands=CLIENTS,
    help="How long a call may take before it has failed (10ms to 1h).",
)
TOKEN_FILE: Final[Option[Path | None]] = Option(
    name="token-file",
    parse=units.parse_path,
    default=None,
    metavar="FILE",
    group=Group.SECRETS,
    commands=EVERYWHERE,
    help="serve and node: the tokens they accept, a line each, `name:token[:rights]`. Elsewhere: the token to show.",
)
API_KEYS: Final[Option[Path | None]] = Option(
    name="api-keys",
    parse=units.parse_path,
    default=None,
    metavar="FILE",
    group=Group.SECRETS,
    commands=HTTP_SERVERS,
    help="The API keys that HTTP accepts, a line each, `name:key[:rights]`.",
)
JWT_KEY: Final[Option[Path | None]] = Option(
    name="jwt-key",
    parse=units.parse_path,
    default=None,
    metavar="FILE",
    group=Group.SECRETS,
    commands=HTTP_SERVERS,
    help="What user tokens (JWT) are checked with: an HS256 secret, or a public key in PEM (RS256, ES256).",
)
JWKS_URL: Final[Option[str | None]] = Option(
    name="jwks-url",
    parse=units.parse_http_url,
    default=None,
    metavar="URL",
    group=Group.SECRETS,
    commands=HTTP_SERVERS,
    help="Where the public keys for user tokens (JWT) are published, instead of --jwt-key.",
    may_hold_secret=True,
)
JWT_AUDIENCE: Final[Option[str | None]] = Option(
    name="jwt-audience",
    parse=units.parse_text,
    default=None,
    metavar="TEXT",
    group=Group.SECRETS,
    commands=HTTP_SERVERS,
    help="Refuse user tokens that are not made out to this audience (`aud`).",
)
JWT_ISSUER: Final[Option[str | None]] = Option(
    name="jwt-issuer",
    parse=units.parse_text,
    default=None,
    metavar="TEXT",
    group=Group.SECRETS,
    commands=HTTP_SERVERS,
    help="Refuse user tokens that are not of this issuer (`iss`).",
)
TLS_CERT: Final[Option[Path | None]] = Option(
    name="tls-cert",
    parse=units.parse_path,
    default=None,
    metavar="FILE",
    group=Group.SECRETS,
    commands=SERVERS,
    help="Serve TLS with this certificate chain (PEM), on the TCP and the HTTP port.",
)
TLS_KEY: Final[Option[Path | None]] = Option(
    name="tls-key",
    parse=units.parse_path,
    default=None,
    metavar="FILE",
    group=Group.SECRETS,
    commands=SERVERS,
    help="The private key of --tls-cert (PEM); without it the key is in that file too.",
)
TLS_CA: Final[Option[Path | None]] = Option(
    name="tls-ca",
    parse=units.parse_path,
    default=None,
    metavar="FILE",
    group=Group.SECRETS,
    commands=CLIENTS,
    help="The certificates (PEM) that a presence+tls:// server is checked against, instead of the system's.",
)
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
JSON: Final[Option[bool]] = Option(
    name="json",
    parse=units.parse_switch,
    default=False,
    group=Group.RUNNING,
    commands=CALLS,
    help="Answer in JSON: one object, or one a line where there are many. Unknown is null.",
)
EVERY: Final[Option[int | None]] = Option(
    name="every",
    parse=units.duration_between(100, limits.TTL_MS_MAX),
    default=None,
    metavar="SECONDS",
    group=Group.CALL,
    commands=frozenset({"heartbeat"}),
    help="Go on beating this often, until ^C (100ms to a year; a third of the ttl is right).",
    flag_only=True,
)
GRACE: Final[Option[int]] = Option(
    name="grace",
    parse=units.duration_between(0, limits.GRACE_MS_MAX),
    default=0,
    default_text="0",
    metavar="SECONDS",
    group=Group.CALL,
    commands=frozenset({"offline"}),
    help="Sign off only after this long, and only if no other device of the user beats meanwhile.",
    flag_only=True,
)
LIMIT: Final[Option[int | None]] = Option(
    name="limit",
    parse=units.count_between(1, 10**12),
    default=None,
    metavar="COUNT",
    group=Group.CALL,
    commands=frozenset({"online"}),
    help="List at most this many.",
    flag_only=True,
)
CURSOR: Final[Option[str | None]] = Option(
    name="cursor",
    parse=units.parse_text,
    default=None,
    metavar="CURSOR",
    group=Group.CALL,
    commands=frozenset({"follow", "watch"}),
    help="Go on after this cursor (from --json): all that was missed since, perhaps a few changes again, or the error gap.",
    flag_only=True,
)


def _table(*options: Option[Any]) -> dict[str, Option[Any]]:
    table = {option.name: option for option in options}
    if len(table) != len(options) or len({option.variable for option in options} | set(OTHER_VARIABLES)) != (
        len(options) + len(OTHER_VARIABLES)
    ):
        raise TypeError("an option or variable is declared twice")
    return table


OPTIONS: Final = _table(
    EVERY, GRACE, LIMIT, CURSOR, LISTEN, UNIX, HTTP, METRICS_LISTEN, INSECURE, TTL, TICK, RETENTION, WARM_UP, NODE_ID,
    URL, TIMEOUT, TOKEN_FILE, API_KEYS, JWT_KEY, JWKS_URL, JWT_AUDIENCE, JWT_ISSUER, TLS_CERT, TLS_KEY, TLS_CA,
    CONFIG, DRAIN_TIMEOUT, LOG_FORMAT, LOG_LEVEL, JSON,
)  # fmt: skip
"""Every option, by name."""


def options_of(command: str) -> list[Option[Any]]:
    """The options that a command takes, in the order of the table."""
    return [option for option in OPTIONS.values() if command in option.commands]

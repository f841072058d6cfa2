"""Tokens, keys and certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from presencedb import units
from presencedb.config.option import CALLS, CLIENTS, HTTP_SERVERS, MEMBERS, SERVERS, Group, Option

TOKEN_FILE: Final[Option[Path | None]] = Option(
    name="token-file",
    parse=units.parse_path,
    default=None,
    metavar="FILE",
    group=Group.SECRETS,
    commands=SERVERS | CALLS,
    help="serve, node, router, cluster up: the tokens they accept, a line each, `name:token[:rights]`. Elsewhere: the token "
    "to show.",
)
CLUSTER_TOKEN_FILE: Final[Option[Path | None]] = Option(
    name="cluster-token-file",
    parse=units.parse_path,
    default=None,
    metavar="FILE",
    group=Group.SECRETS,
    commands=MEMBERS,
    help="The token by which members and routers know each other: shown to members, and accepted with every right. Without "
    "it, the first of --token-file with the right `cluster`.",
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
    commands=CLIENTS | MEMBERS,
    help="The certificates (PEM) that a server of presence+tls:// is checked against, instead of the system's. On a member "
    "or router it says that the members of the cluster serve TLS.",
)

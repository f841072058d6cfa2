"""What a gateway is told when it is made. Wrong combinations are refused here, before anything listens."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from presencedb.credentials import Credentials
from presencedb.errors import ConfigError
from presencedb.gateway.keys import VerificationKey
from presencedb.units import is_loopback

JWT_LEEWAY_S: Final = 30.0
"""How far the clocks of this machine and of whoever issues tokens may differ before `exp` and `nbf` are held against it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtSettings:
    """How user tokens are checked: with one key, or with those that a URL publishes.

    Attributes:
        key: from `load_jwt_key`.
        jwks_url: where the public keys are; https, unless it is on this machine; no name or password in it.
        audience: what `aud` has to name. Without it a token that names an audience is meant for somebody else.
        issuer: what `iss` has to be; None: anybody.
        leeway_s: see `JWT_LEEWAY_S`.
        jwks_refresh_s: age of the published keys at which they are fetched anew, in the background.
        jwks_retry_s: at most one fetch in this time, however many tokens name unknown keys.
        jwks_stale_s: how long fetched keys are good while fetching fails.
        jwks_timeout_s: of one fetch.
    """

    key: VerificationKey | None = None
    jwks_url: str | None = None
    audience: str | None = None
    issuer: str | None = None
    leeway_s: float = JWT_LEEWAY_S
    jwks_refresh_s: float = 600.0
    jwks_retry_s: float = 10.0
    jwks_stale_s: float = 24 * 3600.0
    jwks_timeout_s: float = 5.0

    def __post_init__(self) -> None:
        """Raises `ConfigError` where not exactly one of `key` and `jwks_url` is given, or the URL is no use."""
        if (self.key is None) == (self.jwks_url is None):
            raise ConfigError("user tokens are checked with --jwt-key or with --jwks-url: give one of them")
        if self.jwks_url is not None:
            _check_jwks_url(self.jwks_url)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """A gateway. With neither `credentials` nor `jwt` it is *keyless*, and serves this machine only.

    Attributes:
        listen: host and port; port 0 takes a free one.
        credentials: the API keys.
        jwt: how user tokens are checked.
        ssl_context: serves HTTPS.
        metrics_listen: a second address with /metrics, /healthz and /readyz that asks for no key.
        insecure: listen beyond loopback although no key is asked for.
        drain_timeout_s: how long a stop waits for requests in flight.
        probe_timeout_s: how long /readyz and /metrics wait for the node.
    """

    listen: tuple[str, int] = ("127.0.0.1", 7412)
    credentials: Credentials | None = None
    jwt: JwtSettings | None = None
    ssl_context: ssl.SSLContext | None = None
    metrics_listen: tuple[str, int] | None = None
    insecure: bool = False
    drain_timeout_s: float = 5.0
    probe_timeout_s: float = 1.0

    def __post_init__(self) -> None:
        """Raises `ConfigError` where a keyless gateway would listen beyond loopback."""
        if self.keyless and not self.insecure and not is_loopback(self.listen[0]):
            raise ConfigError(
                f"without keys HTTP is served on loopback only, and {self.listen[0] or 'every interface'} is not:"
                " give --api-keys, --jwt-key or --jwks-url, or --insecure to let everybody in"
            )

    @property
    def keyless(self) -> bool:
        """Whether nobody is asked who they are."""
        return self.credentials is None and self.jwt is None


def shown_url(url: str) -> str:
    """Scheme, host and path of a URL, for logs and messages: what stands around these may be secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _check_jwks_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if not host or parts.scheme not in {"http", "https"}:
        raise ConfigError("--jwks-url takes a URL such as https://login.example.com/.well-known/jwks.json")
    if "@" in parts.netloc:
        raise ConfigError(f"--jwks-url {shown_url(url)}: a name or password before the host has no use here; leave it out")
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigError(
            f"--jwks-url {shown_url(url)}: keys that come over plain http can be exchanged on the way; use https"
        )

"""Where a server is: the URLs that a client takes, and the addresses in them.

    presence://host:7411              one node or a router; the port may be left out
    presence://r1,r2:7412,[::1]       several, in the order of preference
    presence+tls://host:7411          the same inside TLS
    presence+unix:///run/presencedb   a Unix socket
    presence+cluster://n1,n2          a cluster: some of its nodes, which are asked for all of them
    presence+cluster+tls://n1,n2      the same inside TLS

A URL holds no secret: it ends up in process lists, logs and error messages.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from presencedb.errors import ConfigError
from presencedb.limits import UNIX_PATH_BYTES_MAX

DEFAULT_PORT: Final = 7411
DEFAULT_URL: Final = "presence://127.0.0.1:7411"
TCP_SCHEME: Final = "presence"
TLS_SCHEME: Final = "presence+tls"
UNIX_SCHEME: Final = "presence+unix"
CLUSTER_SCHEME: Final = "presence+cluster"
CLUSTER_TLS_SCHEME: Final = "presence+cluster+tls"

_FORMS: Final = (
    "presence://HOST[:PORT][,HOST[:PORT]...], presence+tls://HOST[:PORT][,...], presence+unix:///PATH "
    "or presence+cluster://HOST[:PORT][,...], "
    f"with an IPv6 address in brackets and port {DEFAULT_PORT} where none is given"
)
_ASCII_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_.])?")
_BRACKETED: Final = re.compile(r"\[([^\[\]]*)\](?::(.*))?", re.DOTALL)
_HOST_CHARS_MAX: Final = 253


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host and port, perhaps inside TLS. The host is a name or an IP address without brackets."""

    host: str
    port: int
    tls: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{TLS_SCHEME if self.tls else TCP_SCHEME}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """The path of a Unix socket."""

    path: str

    def __str__(self) -> str:
        return f"{UNIX_SCHEME}://{self.path}"


Address: TypeAlias = TcpAddress | UnixAddress


def parse_url(url: str) -> tuple[Address, ...]:
    """The addresses in a URL, at least one, in order.

    Raises:
        ConfigError: it is not understood; the message says what is wrong and which forms there are. A part that may be a
            secret is not repeated.
    """
    if not isinstance(url, str):
        raise ConfigError(f"a URL is text, not {type(url).__name__}; {_there_are()}")
    scheme, separator, rest = url.partition("://")
    kind = scheme.lower()
    if "@" in url and not (kind == UNIX_SCHEME and rest.startswith("/")):  # a path may have one
        raise ConfigError(
            "a URL holds no user or token, it would end up in logs; "
            "give the token by the environment variable PRESENCEDB_TOKEN, a token file or the argument"
        )
    if not separator:
        raise ConfigError(f"the URL {_without_path(url)!r} has no scheme; {_there_are()}")
    if kind == UNIX_SCHEME:
        return (_unix_address(url, rest),)
    if kind not in (TCP_SCHEME, TLS_SCHEME, CLUSTER_SCHEME, CLUSTER_TLS_SCHEME):
        raise ConfigError(f"no scheme {scheme!r}, {_there_are()}")
    return _tcp_addresses(url, rest, tls=kind in (TLS_SCHEME, CLUSTER_TLS_SCHEME))


def names_cluster(url: str) -> bool:
    """Whether a URL that `parse_url` takes names a cluster, by some of its nodes."""
    return url.partition("://")[0].lower() in (CLUSTER_SCHEME, CLUSTER_TLS_SCHEME)


def _there_are() -> str:
    return f"a URL is {_FORMS}"


def _without_path(url: str) -> str:
    """What may be repeated: somebody may have put a token behind the address."""
    return re.split(r"[/?#]", url, maxsplit=1)[0]


def _wrong(url: str, what: str) -> ConfigError:
    return ConfigError(f"the URL {url!r} {what}; {_there_are()}")


def _unix_address(url: str, path: str) -> UnixAddress:
    if not path.startswith("/") or path.endswith("/"):
        raise _wrong(url, "names no socket by an absolute path (three slashes: presence+unix:///run/presencedb.sock)")
    if "\0" in path:
        raise _wrong(url, "has a NUL byte in its path")
    size = len(os.fsencode(path))
    if size > UNIX_PATH_BYTES_MAX:
        raise _wrong(url, f"has a path of {size} bytes, a Unix socket takes at most {UNIX_PATH_BYTES_MAX}")
    return UnixAddress(path)


def _tcp_addresses(url: str, rest: str, *, tls: bool) -> tuple[TcpAddress, ...]:
    authority = rest.removesuffix("/")
    if re.search(r"[/?#]", authority):
        shown = f"{url[: -len(rest)]}{_without_path(authority)}"
        raise _wrong(shown, "has something after its addresses: a path, query or fragment means nothing here")
    if not authority:
        raise _wrong(url, "names no host")
    return tuple(TcpAddress(*_host_and_port(url, part), tls) for part in authority.split(","))


def _host_and_port(url: str, part: str) -> tuple[str, int]:
    if not part:
        raise _wrong(url, "has nothing between two commas")
    if part.startswith("["):
        bracketed = _BRACKETED.fullmatch(part)
        if bracketed is None:
            raise _wrong(url, f"has {part!r}, where an IPv6 address in brackets should be")
        return _checked_ipv6(url, bracketed[1]), _checked_port(url, bracketed[2])
    if part.count(":") > 1:
        raise _wrong(url, f"has {part!r}: an IPv6 address goes in brackets, as in [::1]:{DEFAULT_PORT}")
    host, colon, port = part.partition(":")
    if not host:
        raise _wrong(url, f"names no host before {part!r}")
    return _checked_host(url, host), _checked_port(url, port if colon else None)


def _checked_ipv6(url: str, host: str) -> str:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        raise _wrong(url, f"has {host!r} in brackets, which is not an IPv6 address") from None
    return host


def _checked_host(url: str, host: str) -> str:
    name = host
    if not host.isascii():
        try:
            name = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise _wrong(url, f"has {host!r}, which is not the name of a host") from None
    if len(name) > _HOST_CHARS_MAX or ".." in name or not _ASCII_HOST.fullmatch(name):
        raise _wrong(url, f"has {host!r}, which is not the name of a host")
    if max(map(len, name.split("."))) > 63:
        raise _wrong(url, f"has {host!r}, a name with a part of more than 63 characters")
    return name


def _checked_port(url: str, port: str | None) -> int:
    if port is None:
        return DEFAULT_PORT
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise _wrong(url, f"has port {port!r}, a port is a number from 1 to 65535")
    return int(port)

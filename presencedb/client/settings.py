"""What a client is told once, checked: shared by every client, whatever its kind of I/O."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final, Generic

from presencedb.client.targets import GIVEN_SOCKET, Greeting, S, Target, target_of
from presencedb.client.url import DEFAULT_URL, TLS_SCHEME, Address, TcpAddress, names_cluster, parse_url
from presencedb.credentials import load_token
from presencedb.errors import ConfigError

TOKEN_VARIABLE: Final = "PRESENCEDB_TOKEN"  # noqa: S105 - the name of one, not a token


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings(Generic[S]):
    """What a client is told once.

    Attributes:
        targets: where to connect to, in order of preference; at least one.
        is_cluster: they are some nodes of a cluster, to be asked for all of them.
        connect_timeout_s: for each target: socket, TLS and hello together.
        timeout_s: for each call, its retries included.
        random: where jitter comes from; None: a source of its own, never the same in two processes.
    """

    targets: Sequence[Target[S]]
    greeting: Greeting
    connect_timeout_s: float
    timeout_s: float
    random: Random | None = None
    is_cluster: bool = False


def read_settings(
    url: str | None,
    socket_maker: Callable[[Address], S],
    *,
    connect: S | None,
    ssl_context: ssl.SSLContext | None,
    token: str | None,
    token_file: str | Path | None,
    connect_timeout_s: float,
    timeout_s: float,
    client_name: str,
    random: Random | None,
) -> ClientSettings[S]:
    """Hold the arguments of a client against each other.

    Args:
        socket_maker: gives what makes sockets that are connected to an address.
        connect: instead of a URL: what makes sockets that are connected.

    Raises:
        ConfigError: the URL or another argument is wrong, or the token file cannot be read.
    """
    for name, value in (("connect_timeout_s", connect_timeout_s), ("timeout_s", timeout_s)):
        if not value > 0:
            raise ConfigError(f"{name} is a number of seconds above 0, not {value!r}")
    return ClientSettings(
        targets=_targets(url, ssl_context, connect, socket_maker),
        greeting=Greeting(client_name, _token(token, token_file, from_environment=connect is None)),
        connect_timeout_s=connect_timeout_s,
        timeout_s=timeout_s,
        random=random,
        is_cluster=connect is None and url is not None and names_cluster(url),
    )


def _targets(
    url: str | None, ssl_context: ssl.SSLContext | None, connect: S | None, socket_maker: Callable[[Address], S]
) -> list[Target[S]]:
    if connect is not None:
        if url not in (None, DEFAULT_URL):
            raise ConfigError("give a URL or `connect`, not both")
        return [Target(GIVEN_SOCKET, connect)]
    if url is None:
        raise ConfigError("give a URL, or `connect`")
    addresses = parse_url(url)
    if ssl_context is not None and not all(isinstance(address, TcpAddress) and address.tls for address in addresses):
        raise ConfigError(f"ssl_context is for {TLS_SCHEME}:// URLs, {url!r} is none")
    return [target_of(address, ssl_context, socket_maker) for address in addresses]


def _token(token: str | None, token_file: str | Path | None, *, from_environment: bool) -> str | None:
    if token is not None and token_file is not None:
        raise ConfigError("give token or token_file, not both")
    if token is not None:
        return token
    if token_file is not None:
        return load_token(Path(token_file))
    return os.environ.get(TOKEN_VARIABLE) or None if from_environment else None

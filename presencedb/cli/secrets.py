"""The files of tokens, keys and certificates that options name: read, and made into what servers and clients take."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from presencedb.client.url import CLUSTER_TLS_SCHEME, TLS_SCHEME
from presencedb.config import CLUSTER_TOKEN_FILE, TLS_CA, TLS_CERT, TLS_KEY, TOKEN_FILE, TOKEN_VARIABLE, URL, Option
from presencedb.credentials import (
    ALL_RIGHTS,
    SECRET_CHARS_MIN,
    Credentials,
    Principal,
    Right,
    load_entries,
    load_token,
)
from presencedb.errors import ConfigError
from presencedb.settings import Settings

T = TypeVar("T")


def load_from(settings: Settings, option: Option[Path | None], load: Callable[[Path], T]) -> T:
    """What `load` makes of the file that an option names.

    Raises:
        ConfigError: as `load`, with the option and where it was given.
    """
    path = settings[option]
    assert path is not None, "called only where a file is named"
    try:
        return load(path)
    except ConfigError as error:
        raise ConfigError(f"{settings.origin(option)}: {error.message}") from None


def load_if_given(settings: Settings, option: Option[Path | None], load: Callable[[Path], T]) -> T | None:
    """As `load_from`; None where the option names no file."""
    return None if settings[option] is None else load_from(settings, option, load)


def accepted_tokens(settings: Settings) -> Credentials | None:
    """What a node or router accepts: the tokens of `--token-file`, else the one of `PRESENCEDB_TOKEN`, and besides those of
    `--cluster-token-file`; None: it asks for none.

    The one token of the environment may do all that a person does, and not what only members of a cluster do. Those of
    the cluster may do everything, whatever rights stand behind them.

    Raises:
        ConfigError: a file cannot be read, or the token is as good as none.
    """
    entries = load_if_given(settings, TOKEN_FILE, load_entries) or []
    if not entries and settings.token is not None:
        if len(settings.token) < SECRET_CHARS_MIN:
            raise ConfigError(f"{TOKEN_VARIABLE}: a token has at least {SECRET_CHARS_MIN} characters")
        entries = [(settings.token, Principal("environment", frozenset({Right.READ, Right.WRITE, Right.ADMIN})))]
    if CLUSTER_TOKEN_FILE in token_files(settings):
        of_cluster = load_from(settings, CLUSTER_TOKEN_FILE, load_entries)
        secrets = {secret for secret, _ in of_cluster}
        entries = [(secret, principal) for secret, principal in entries if secret not in secrets]
        entries += [(secret, Principal(principal.name, ALL_RIGHTS)) for secret, principal in of_cluster]
    return Credentials(entries) if entries else None


def token_files(settings: Settings) -> list[Option[Path | None]]:
    """The options by which files of tokens were given."""
    options = (TOKEN_FILE, CLUSTER_TOKEN_FILE)
    return [option for option in options if settings.takes(option) and settings[option] is not None]


def asks_for_token(settings: Settings) -> bool:
    """Whether a node or router with these settings asks for a token."""
    return bool(token_files(settings)) or settings.token is not None


def token_for_members(settings: Settings) -> str | None:
    """What a member or router shows to members: the token of `--cluster-token-file`, else the first of `--token-file` that
    has the right `cluster`; None: there is none.

    Raises:
        ConfigError: a file cannot be read.
    """
    token = load_if_given(settings, CLUSTER_TOKEN_FILE, load_token)
    entries = load_if_given(settings, TOKEN_FILE, load_entries) or []
    return token or next((secret for secret, principal in entries if Right.CLUSTER in principal.rights), None)


def shown_token(settings: Settings) -> str | None:
    """What a client shows: the first token of `--token-file`, else the one of `PRESENCEDB_TOKEN`.

    Raises:
        ConfigError: the file cannot be read.
    """
    return load_if_given(settings, TOKEN_FILE, load_token) or settings.token


def first_rights(settings: Settings, option: Option[Path | None]) -> frozenset[Right]:
    """What the first token or key of a file may do, which is the one that a line to paste shows.

    Raises:
        ConfigError: the file cannot be read.
    """
    return load_from(settings, option, load_entries)[0][1].rights


def server_tls(settings: Settings) -> ssl.SSLContext | None:
    """What serves TLS with `--tls-cert`; None: it is served plain.

    Raises:
        ConfigError: the certificate or its key cannot be read, or they do not belong together.
    """
    if settings[TLS_CERT] is None:
        if settings[TLS_KEY] is not None:
            raise ConfigError(f"{settings.origin(TLS_KEY)}: a key without its certificate; give --tls-cert too")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    load_certificate(settings, context)
    return context


def load_certificate(settings: Settings, context: ssl.SSLContext) -> None:
    """Have a context show the certificate of `--tls-cert` to whoever connects from now on.

    Raises:
        ConfigError: as `server_tls`; the context is left as it was.
    """
    certificate, key = settings[TLS_CERT], settings[TLS_KEY]
    assert certificate is not None, "called only where there is one"
    try:
        # A trial first: a context that got a new certificate and not its key would refuse everybody.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        reason = "the key is not that of the certificate" if error.reason == "KEY_VALUES_MISMATCH" else "not PEM"
        raise ConfigError(f"{_tls_origin(settings)}: {reason}") from None
    except OSError as error:
        raise ConfigError(f"{_tls_origin(settings)}: cannot read it: {error.strerror}") from None


def client_tls(settings: Settings) -> ssl.SSLContext | None:
    """What holds a server against `--tls-ca`; None: the client takes the system's certificates.

    Raises:
        ConfigError: the file cannot be read, or there is no certificate in it.
    """
    if settings[TLS_CA] is not None and not uses_tls(settings):
        raise ConfigError(f"{settings.origin(TLS_CA)}: {settings.origin(URL)} does not use TLS, presence+tls:// does")
    return trusted(settings)


def uses_tls(settings: Settings) -> bool:
    """Whether `--url` is of servers with TLS."""
    return settings[URL].lower().startswith((f"{TLS_SCHEME}:", f"{CLUSTER_TLS_SCHEME}:"))


def trusted(settings: Settings) -> ssl.SSLContext | None:
    """What holds servers against `--tls-ca`; None: that is not given.

    Raises:
        ConfigError: the file cannot be read, or there is no certificate in it.
    """
    path = settings[TLS_CA]
    if path is None:
        return None
    try:
        return ssl.create_default_context(cafile=os.fspath(path))
    except ssl.SSLError:
        raise ConfigError(f"{settings.origin(TLS_CA)}: no certificate (PEM) in it") from None
    except OSError as error:
        raise ConfigError(f"{settings.origin(TLS_CA)}: cannot read it: {error.strerror}") from None


def _tls_origin(settings: Settings) -> str:
    if settings[TLS_KEY] is None:
        return f"{settings.origin(TLS_CERT)} (which has to hold the key too, as there is no --tls-key)"
    return f"{settings.origin(TLS_CERT)} with {settings.origin(TLS_KEY)}"


def _no_password() -> str:
    # Without this OpenSSL would stop the server to ask whoever sits at the terminal.
    return ""

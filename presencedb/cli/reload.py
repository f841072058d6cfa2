"""Files that SIGHUP reads anew while a server runs. A broken file changes nothing: what was read before stays good."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import structlog

from presencedb.cli.secrets import accepted_tokens, load_certificate, token_files
from presencedb.config import TLS_CERT
from presencedb.credentials import Credentials
from presencedb.errors import ConfigError
from presencedb.settings import Settings

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reloadable:
    """One thing to read anew.

    Attributes:
        origin: the option that names the file, and the file: `--token-file tokens`.
        apply: reads the file and puts what is in it in force; raises ConfigError, which names `origin`, and then has
            changed nothing.
    """

    origin: str
    apply: Callable[[], None]


def certificate_reloadables(settings: Settings, ssl_context: ssl.SSLContext | None) -> Iterator[Reloadable]:
    """The certificate of the ports with TLS: whoever connects from then on sees the new one."""
    if ssl_context is not None:
        yield Reloadable(settings.origin(TLS_CERT), lambda: load_certificate(settings, ssl_context))


def token_reloadables(settings: Settings, set_credentials: Callable[[Credentials | None], None]) -> Iterator[Reloadable]:
    """The tokens that a node or router accepts."""
    for option in token_files(settings):
        yield Reloadable(settings.origin(option), lambda: set_credentials(accepted_tokens(settings)))


def reload_all(reloadables: Sequence[Reloadable]) -> None:
    """Read everything anew, and log what came of it."""
    if not reloadables:
        log.info("nothing to reload: no file of tokens, keys, certificates or members was given")
    for reloadable in reloadables:
        try:
            reloadable.apply()
        except ConfigError as error:
            log.error("not reloaded, what was read before stays in force", reason=error.message)
        else:
            log.info("reloaded", file=reloadable.origin)

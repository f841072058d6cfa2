"""Who may do what: rights, and the files of tokens and keys that grant them.

One file format serves tokens on TCP (`--token-file`) and API keys on HTTP (`--api-keys`): a line each,
`name:secret[:rights]`, where rights are joined by commas and default to `read,write`. A line without a colon is a secret
alone. Empty lines and lines that begin with `#` are passed over.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from presencedb.errors import ConfigError

SECRET_CHARS_MIN: Final = 8
"""A shorter secret is a typing mistake, or as good as none."""


class Right(StrEnum):
    """What a token or key may do."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    CLUSTER = "cluster"


ALL_RIGHTS: Final = frozenset(Right)
DEFAULT_RIGHTS: Final = frozenset({Right.READ, Right.WRITE})


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody whom a secret names, with what they may do. The name is for logs and counters."""

    name: str
    rights: frozenset[Right]


class Credentials:
    """A set of secrets. Only their digests are kept, so no log, dump or error can show one."""

    def __init__(self, entries: Iterable[tuple[str, Principal]]) -> None:
        self._principals = [(digest_of(secret), principal) for secret, principal in entries]

    def __len__(self) -> int:
        return len(self._principals)

    def find(self, secret: str) -> Principal | None:
        """Whom this secret names, or None. Takes the same time whichever matches, or none."""
        return self.find_digest(digest_of(secret))

    def find_digest(self, digest: bytes) -> Principal | None:
        """As `find`, for whoever kept the digest of a secret that was shown, to ask again when the secrets have changed."""
        found = None
        for known, principal in self._principals:
            if hmac.compare_digest(known, digest):
                found = principal
        return found


def parse_secrets(text: str, source: str) -> list[tuple[str, Principal]]:
    """The entries of a file of tokens or keys: `(secret, principal)`, in order.

    Raises:
        ConfigError: a line is not understood; the message names source and line, never the secret.
    """
    entries: list[tuple[str, Principal]] = []
    for number, raw_line in enumerate(text.splitlines(), start=1):
        line = raw_line.strip()
        if not line or line.startswith("#"):
            continue
        name, secret, rights_text = _split_line(line, number)
        if len(secret) < SECRET_CHARS_MIN:
            raise ConfigError(f"{source}, line {number}: a secret has at least {SECRET_CHARS_MIN} characters")
        if any(secret == known for known, _ in entries):
            raise ConfigError(f"{source}, line {number}: this secret is in the file already")
        entries.append((secret, Principal(name, _parse_rights(rights_text, f"{source}, line {number}"))))
    if not entries:
        raise ConfigError(f"{source}: no secret in it; write one a line: name:secret[:rights]")
    return entries


def load_credentials(path: Path) -> Credentials:
    """Read a file of tokens or keys.

    Raises:
        ConfigError: it cannot be read, or a line is not understood.
    """
    return Credentials(load_entries(path))


def load_entries(path: Path) -> list[tuple[str, Principal]]:
    """The entries of such a file: `(secret, principal)`, in order, at least one.

    Raises:
        ConfigError: as `load_credentials`.
    """
    return parse_secrets(_read(path), str(path))


def load_token(path: Path) -> str:
    """The first secret of a file, for a client that shows it.

    Raises:
        ConfigError: as `load_credentials`.
    """
    return load_entries(path)[0][0]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"cannot read {path}: {reason}") from None


def _split_line(line: str, number: int) -> tuple[str, str, str]:
    name, colon, rest = line.partition(":")
    if not colon:
        return f"line-{number}", line, ""
    secret, _, rights_text = rest.partition(":")
    return name, secret, rights_text


def _parse_rights(text: str, where: str) -> frozenset[Right]:
    if not text:
        return DEFAULT_RIGHTS
    names = [name.strip() for name in text.split(",")]
    if not set(names) <= set(Right):
        # Not repeated: in a secret that holds a colon it would be a part of the secret.
        raise ConfigError(f"{where}: what comes after the second colon are rights: {', '.join(Right)}")
    return frozenset(Right(name) for name in names)


def digest_of(secret: str) -> bytes:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).digest()

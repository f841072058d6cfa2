"""User tokens that were found good a moment ago, so that whoever beats every few seconds is not verified anew each time.

Verifying is most of what a heartbeat over HTTP costs. A token is known for `JWT_KNOWN_MS_MAX` at most, never beyond its own
end, and only as long as the keys stay the same. What is kept is its digest: no token lies around in memory.
"""

from __future__ import annotations

import hashlib
from itertools import islice
from typing import Final

from presencedb.clock import Clock
from presencedb.ids import Id
from presencedb.limits import JWT_KNOWN_MAX, JWT_KNOWN_MS_MAX

_NS_PER_MS: Final = 1_000_000
_FORGOTTEN_AT_ONCE: Final = 4
"""Tokens looked at when one is added; more than one, so that those whose time is over do not stay."""


class KnownTokens:
    """Tokens and the users whom they name. As all are known for about the same time, the oldest go first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[bytes, tuple[Id, int]] = {}
        self._generation = 0

    def __len__(self) -> int:
        return len(self._entries)

    def user_of(self, token: str, generation: int) -> Id | None:
        """The user of a token that is known; None: verify it.

        Args:
            generation: of the keys. With another than before everything is forgotten.
        """
        if generation != self._generation:
            self._entries.clear()
            self._generation = generation
            return None
        entry = self._entries.get(_digest(token))
        return entry[0] if entry is not None and self._clock.monotonic_ns() < entry[1] else None

    def add(self, token: str, user_id: Id, generation: int, good_until_ms: int) -> None:
        """Remember a token that was found good with the keys of this generation.

        Args:
            good_until_ms: Unix time from which on it is not good any more.
        """
        good_for_ms = min(JWT_KNOWN_MS_MAX, good_until_ms - self._clock.wall_ms())
        if generation != self._generation or good_for_ms <= 0:
            return
        now_ns = self._clock.monotonic_ns()
        for digest in tuple(islice(self._entries, _FORGOTTEN_AT_ONCE)):
            if self._entries[digest][1] <= now_ns or len(self._entries) >= JWT_KNOWN_MAX:
                del self._entries[digest]
        digest = _digest(token)
        # Taken out first, so that it goes to the end of the line.
        self._entries.pop(digest, None)
        self._entries[digest] = (user_id, now_ns + good_for_ms * _NS_PER_MS)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()

"""The keys that an identity provider publishes at a URL (JWKS): fetched, kept, and fetched again when they change.

Keys are renewed in the background once they are old, and at once when a token names a key that is not among them, though
seldom, so that invented names do not become requests to the provider. While fetching fails the known keys stay good.
"""

from __future__ import annotations

import asyncio

import aiohttp
import structlog

from presencedb.clock import Clock
from presencedb.errors import Unavailable
from presencedb.gateway.keys import VerificationKey, read_jwks
from presencedb.gateway.settings import JwtSettings, shown_url
from presencedb.gateway.tokens import TokenRefused
from presencedb.limits import JWKS_BYTES_MAX

log = structlog.get_logger()
_CHUNK_BYTES = 16 * 1024


class JwksKeys:
    """A key source of the keys at a URL. `start` it in the loop that uses it, and `close` it there."""

    def __init__(self, settings: JwtSettings, clock: Clock) -> None:
        self.generation = 0
        self._settings = settings
        self._url = settings.jwks_url or ""
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._keys: dict[str | None, VerificationKey] = {}
        self._fetched_ns: int | None = None
        self._tried_ns: int | None = None
        self._fetching: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether there are keys that may be used."""
        return self._age_s() <= self._settings.jwks_stale_s

    async def start(self) -> None:
        """Fetch the keys for the first time. Where that fails, it is tried again when a token comes."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._settings.jwks_timeout_s))
        await self._refresh()

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
        if self._session is not None:
            await self._session.close()

    async def key_for(self, kid: str | None) -> VerificationKey:
        age_s = self._age_s()
        if self._settings.jwks_refresh_s < age_s <= self._settings.jwks_stale_s:
            self._start_fetching()
        if self.ready and kid in self._keys:
            return self._keys[kid]
        await self._refresh()
        if not self.ready:
            raise Unavailable("the keys that user tokens are checked with cannot be fetched now")
        if kid not in self._keys:
            raise TokenRefused("key", "the token is not signed with one of the published keys")
        return self._keys[kid]

    def _age_s(self) -> float:
        return float("inf") if self._fetched_ns is None else (self._clock.monotonic_ns() - self._fetched_ns) / 1e9

    async def _refresh(self) -> None:
        self._start_fetching()
        if self._fetching is not None:
            # Shielded: all who wait share one fetch, and one of them going away is not its end.
            await asyncio.shield(self._fetching)

    def _start_fetching(self) -> None:
        now_ns = self._clock.monotonic_ns()
        if self._fetching is not None:
            return
        if self._tried_ns is not None and now_ns - self._tried_ns < self._settings.jwks_retry_s * 1e9:
            return
        self._tried_ns = now_ns
        self._fetching = asyncio.get_running_loop().create_task(self._fetch())

    async def _fetch(self) -> None:
        try:
            self._keys = read_jwks(await self._download())
            self.generation += 1
            self._fetched_ns = self._clock.monotonic_ns()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            log.warning("cannot fetch the keys for user tokens", url=shown_url(self._url), reason=_reason(error))
        finally:
            self._fetching = None

    async def _download(self) -> bytes:
        if self._session is None:
            raise ValueError("not started")
        # A redirect is not followed: it could lead away from https, or to where only this machine gets.
        async with self._session.get(self._url, allow_redirects=False, headers={"Accept": "application/json"}) as response:
            if response.status != 200:
                raise ValueError(f"the answer has status {response.status}, not 200")
            document = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                document += chunk
                if len(document) > JWKS_BYTES_MAX:
                    raise ValueError(f"a JSON Web Key Set has at most {JWKS_BYTES_MAX} bytes")
            return bytes(document)


def _reason(error: Exception) -> str:
    # These two repeat the whole URL in their text.
    if isinstance(error, aiohttp.ClientResponseError):
        return error.message.partition("\n")[0].rstrip(":") or type(error).__name__
    if isinstance(error, aiohttp.InvalidURL):
        return type(error).__name__
    return str(error) or type(error).__name__

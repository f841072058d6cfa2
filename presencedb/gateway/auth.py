"""Who is asking: an API key, a user token, or, on a gateway without keys, anybody on this machine.

| sent | who |
|---|---|
| `Authorization: Bearer TOKEN` | the user whom the token (JWT) names: may write that user, and read |
| `Authorization: ApiKey KEY` or `X-API-Key: KEY` | a service: what its line in the file of keys says |
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final, Protocol

from multidict import CIMultiDictProxy

from presencedb.credentials import ALL_RIGHTS, Credentials, Right
from presencedb.gateway.problems import Problem
from presencedb.gateway.tokens import TokenRefused, TokenVerifier
from presencedb.ids import Id

_REALM: Final = 'realm="presencedb"'
_USER_RIGHTS: Final = frozenset({Right.READ, Right.WRITE})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking, and what they may do.

    Attributes:
        user_id: whose user token it is; such a caller writes this user and nobody else. None: no user token.
    """

    name: str
    rights: frozenset[Right]
    user_id: Id | None = None


ANYBODY: Final = Caller("anybody", ALL_RIGHTS)
"""Whoever asks a gateway, or a listener, that asks for no keys."""


class Authenticator(Protocol):
    """Finds out who is asking."""

    async def caller_of(self, headers: CIMultiDictProxy[str]) -> Caller:
        """Who sent a request with these headers.

        Raises:
            Problem: 401; it says what is wrong, and shows nothing of any secret.
        """
        ...


class NoKeys:
    """Everybody is served. A caller who shows a credential believes that it is looked at, so it is refused."""

    async def caller_of(self, headers: CIMultiDictProxy[str]) -> Caller:
        if "Authorization" in headers or "X-API-Key" in headers:
            raise Problem(
                401,
                "this gateway was started without keys, so it cannot tell whether yours is good:"
                " call it without, or start it with --api-keys, --jwt-key or --jwks-url",
                headers=[("WWW-Authenticate", f"ApiKey {_REALM}")],
            )
        return ANYBODY


class Keys:
    """Asks for an API key or a user token, for whichever it has the means to check.

    Attributes:
        credentials: the API keys; may be exchanged at any time.
    """

    def __init__(self, credentials: Credentials | None, tokens: TokenVerifier | None, failures: Counter[str]) -> None:
        """`failures` counts refusals by reason."""
        self.credentials = credentials
        self._tokens = tokens
        self._failures = failures

    async def caller_of(self, headers: CIMultiDictProxy[str]) -> Caller:
        shown = headers.getall("Authorization", ()) if "Authorization" in headers else ()
        if "X-API-Key" in headers:
            shown = (*shown, *(f"ApiKey {key}" for key in headers.getall("X-API-Key")))
        if len(shown) != 1:
            if shown:
                raise self._refusal("ambiguous", "show one key or token, not several")
            raise self._refusal("missing", "a key or token is needed")
        scheme, _, secret = shown[0].partition(" ")
        secret = secret.strip()
        if scheme.lower() == "bearer":
            return await self._user(secret)
        if scheme.lower() == "apikey":
            return self._service(secret)
        raise self._refusal("scheme", "an Authorization begins with Bearer (a user token) or ApiKey (an API key)")

    def _service(self, secret: str) -> Caller:
        if self.credentials is None:
            raise self._refusal("unchecked", "this gateway takes user tokens only: Authorization: Bearer TOKEN")
        principal = self.credentials.find(secret)
        if principal is None:
            raise self._refusal("api_key", "this API key is not known")
        return Caller(principal.name, principal.rights)

    async def _user(self, token: str) -> Caller:
        if self._tokens is None:
            raise self._refusal("unchecked", "this gateway takes API keys only: X-API-Key: KEY")
        try:
            user_id = await self._tokens.user_of(token)
        except TokenRefused as error:
            raise self._refusal(error.reason, error.message, bearer_error="invalid_token") from None
        return Caller("user", _USER_RIGHTS, user_id)

    def _refusal(self, reason: str, detail: str, bearer_error: str = "") -> Problem:
        self._failures[reason] += 1
        challenges = []
        if self._tokens is not None:
            error = f', error="{bearer_error}"' if bearer_error else ""
            challenges.append(("WWW-Authenticate", f"Bearer {_REALM}{error}"))
        if self.credentials is not None:
            challenges.append(("WWW-Authenticate", f"ApiKey {_REALM}"))
        return Problem(401, detail, code="unauthenticated", headers=challenges)


def require(caller: Caller, right: Right) -> None:
    """Raises `Problem` (403) where a caller lacks a right."""
    if right not in caller.rights:
        has = ", ".join(sorted(caller.rights)) or "none"
        who = "a user token" if caller.user_id is not None else f"the key {caller.name!r}"
        raise Problem(403, f"this call needs the right {right}; {who} has: {has}", code="denied")

"""User tokens (JWT, RFC 7519): whose is it, or what is wrong with it.

A token is good if it is signed with the configured key, names its `exp`, and `nbf`, `iat`, `aud` and `iss` say nothing
against it. Its `sub` is the user.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import jwt
from jwt.exceptions import InvalidSubjectError

from presencedb.clock import Clock
from presencedb.errors import BadRequest
from presencedb.gateway.keys import VerificationKey
from presencedb.gateway.known_tokens import KnownTokens
from presencedb.gateway.settings import JwtSettings
from presencedb.ids import Id, canonical_id
from presencedb.limits import SECOND_MS

_OPTIONS: Final[Any] = {"require": ["exp", "sub"]}

_REASONS: Final[tuple[tuple[type[Exception], str, str], ...]] = (
    (jwt.ExpiredSignatureError, "expired", "the token has expired"),
    (jwt.ImmatureSignatureError, "immature", "the token is not valid yet; is a clock wrong?"),
    (jwt.InvalidAudienceError, "audience", "the token is for another audience (aud)"),
    (jwt.InvalidIssuerError, "issuer", "the token comes from another issuer (iss)"),
    (InvalidSubjectError, "subject", "the token's subject (sub) is not text"),
    (jwt.InvalidSignatureError, "signature", "the token's signature is not good"),
    (jwt.InvalidAlgorithmError, "algorithm", "the token is not signed with the algorithm that this gateway's key is for"),
)
"""In this order, since some are subclasses of others: exception -> reason for counters, sentence for whoever sent it."""


class TokenRefused(Exception):
    """A token is not good. `reason` is a word for counters; the message shows nothing of token or key."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class KeySource(Protocol):
    """Where the key for a token comes from."""

    @property
    def generation(self) -> int:
        """Another number whenever the keys may be others than before."""
        ...

    async def key_for(self, kid: str | None) -> VerificationKey:
        """The key that a token's header names.

        Raises:
            TokenRefused: there is no such key.
            Unavailable: it cannot be told whether there is.
        """
        ...


class OneKey:
    """A key source of one key, whatever a token names."""

    def __init__(self, key: VerificationKey) -> None:
        self.generation = 0
        self._key = key

    def exchange(self, key: VerificationKey) -> None:
        """Take this key from now on."""
        self._key = key
        self.generation += 1

    async def key_for(self, kid: str | None) -> VerificationKey:  # noqa: ARG002 - one key is for all
        return self._key


class TokenVerifier:
    """Checks user tokens, each once in a while."""

    def __init__(self, settings: JwtSettings, keys: KeySource, clock: Clock) -> None:
        self._settings = settings
        self._keys = keys
        self._known = KnownTokens(clock)

    async def user_of(self, token: str) -> Id:
        """The user whom a token names.

        Raises:
            TokenRefused: the token is not good.
            Unavailable: the keys to check it with cannot be had now.
        """
        known = self._known.user_of(token, self._keys.generation)
        if known is not None:
            return known
        key = await self._keys.key_for(_key_id(token))
        claims = self._claims(token, key)
        try:
            user_id = canonical_id(claims["sub"])
        except BadRequest as error:
            raise TokenRefused("subject", f"the token's subject (sub) is not an id: {error.message}") from None
        good_until_ms = (int(claims["exp"]) * SECOND_MS) + int(self._settings.leeway_s * SECOND_MS)
        self._known.add(token, user_id, self._keys.generation, good_until_ms)
        return user_id

    def _claims(self, token: str, key: VerificationKey) -> dict[str, Any]:
        settings = self._settings
        try:
            return jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                audience=settings.audience,
                issuer=settings.issuer,
                leeway=settings.leeway_s,
                options=_OPTIONS,
            )
        except jwt.MissingRequiredClaimError as error:
            raise TokenRefused("claims", f"the token has no {error.claim}") from None
        except jwt.PyJWTError as error:
            for cls, reason, message in _REASONS:
                if isinstance(error, cls):
                    raise TokenRefused(reason, message) from None
            raise _malformed() from None
        except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError):
            # The bytes are a stranger's: whatever a parser stumbles over in them means that this is not a token.
            raise _malformed() from None


def _key_id(token: str) -> str | None:
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except (jwt.PyJWTError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise _malformed() from None
    return kid if isinstance(kid, str) else None


def _malformed() -> TokenRefused:
    return TokenRefused("malformed", "this is not a token (JWT) that can be read")

"""Tokens that are not verified again for a moment: never beyond their end, nor with other keys, nor without bound."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from presencedb.clock import ManualClock, SystemClock
from presencedb.gateway import known_tokens
from presencedb.gateway.jwks import JwksKeys
from presencedb.gateway.keys import secret_key
from presencedb.gateway.known_tokens import KnownTokens
from presencedb.gateway.settings import JwtSettings
from presencedb.gateway.tokens import OneKey, TokenRefused, TokenVerifier
from presencedb.limits import JWT_KNOWN_MS_MAX
from tests.gateway.issuing import jwk, running_provider, token, verification_key
from tests.gateway.serving import serving
from tests.support.waiting import wait_until_async

FAR_FUTURE_MS = 10**15


async def test_a_known_token_is_refused_once_it_has_expired() -> None:
    key = verification_key("HS256")
    verifier = TokenVerifier(JwtSettings(key=key, leeway_s=0), OneKey(key), SystemClock())
    short = token(expires_in_s=3)
    assert await verifier.user_of(short) == "u1"

    async def refused() -> str:
        try:
            await verifier.user_of(short)
        except TokenRefused as refusal:
            return refusal.reason
        return ""

    assert await wait_until_async(refused) == "expired"


async def test_a_reload_of_the_key_ends_it_at_once() -> None:
    async with serving() as served:
        shown = token("u1")
        for _ in range(3):
            assert (await served.call("POST", "/heartbeat", token=shown)).status == 204
        served.gateway.set_jwt_key(secret_key(b"the new secret, of thirty-two bytes or more"))
        (await served.call("POST", "/heartbeat", token=shown)).problem(401)


async def test_a_rotation_of_published_keys_ends_it_at_once() -> None:
    clock = ManualClock()
    async with running_provider() as provider:
        provider.publish(jwk("ES256", "a"))
        settings = JwtSettings(jwks_url=provider.url, jwks_retry_s=0)
        keys = JwksKeys(settings, clock)
        await keys.start()
        verifier = TokenVerifier(settings, keys, clock)
        shown = token(algorithm="ES256", kid="a")
        assert await verifier.user_of(shown) == await verifier.user_of(shown) == "u1"
        new_key = ec.generate_private_key(ec.SECP256R1())
        provider.publish(jwk("ES256", "b", new_key))
        assert await verifier.user_of(token("u2", algorithm="ES256", key=new_key, kid="b")) == "u2"
        with pytest.raises(TokenRefused, match="published keys"):
            await verifier.user_of(shown)
        await keys.close()


async def test_another_signature_is_another_token() -> None:
    key = verification_key("HS256")
    verifier = TokenVerifier(JwtSettings(key=key), OneKey(key), SystemClock())
    good = token()
    forged = f"{good.rpartition('.')[0]}.{token(key=b'another secret of at least thirty-two bytes').rpartition('.')[2]}"
    assert await verifier.user_of(good) == "u1"
    with pytest.raises(TokenRefused, match="signature"):
        await verifier.user_of(forged)


def test_a_token_is_known_for_a_while_and_not_beyond_its_end() -> None:
    clock = ManualClock(wall_ms=1_000_000)
    known = KnownTokens(clock)
    known.add("long", 0, 0, FAR_FUTURE_MS)
    known.add("short", "bob", 0, 1_000_000 + 5_000)
    known.add("over", "carol", 0, 1_000_000)
    assert (known.user_of("long", 0), known.user_of("short", 0), known.user_of("over", 0)) == (0, "bob", None)
    clock.advance_ms(4_999)
    assert known.user_of("short", 0) == "bob"
    clock.advance_ms(1)
    assert known.user_of("short", 0) is None
    clock.set_wall_ms(0)
    clock.advance_ms(JWT_KNOWN_MS_MAX - 5_001)
    assert known.user_of("long", 0) == 0
    clock.advance_ms(1)
    assert known.user_of("long", 0) is None


def test_what_was_found_good_with_other_keys_is_not_kept() -> None:
    known = KnownTokens(ManualClock())
    known.add("token", "bob", 0, FAR_FUTURE_MS)
    assert known.user_of("token", 1) is None
    assert known.user_of("token", 0) is None
    known.add("token", "bob", 1, FAR_FUTURE_MS)
    assert len(known) == 0


def test_the_oldest_go_when_there_are_many_and_when_their_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_tokens, "JWT_KNOWN_MAX", 100)
    clock = ManualClock()
    known = KnownTokens(clock)
    for number in range(1000):
        known.add(f"token {number}", number, 0, FAR_FUTURE_MS)
    assert len(known) == 100
    assert known.user_of("token 999", 0) == 999
    assert known.user_of("token 0", 0) is None
    clock.advance_ms(JWT_KNOWN_MS_MAX)
    for number in range(30):
        known.add(f"new token {number}", number, 0, FAR_FUTURE_MS)
    assert len(known) == 30

"""Published keys: fetched from a real server, exchanged when they rotate, kept while the server is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs

from presencedb.clock import ManualClock
from presencedb.errors import Unavailable
from presencedb.gateway.jwks import JwksKeys
from presencedb.gateway.settings import JwtSettings
from presencedb.gateway.tokens import TokenRefused, TokenVerifier
from tests.gateway.issuing import Provider, jwk, running_provider, token
from tests.support.waiting import wait_until_async


@asynccontextmanager
async def verifying(
    provider: Provider, clock: ManualClock, settings: JwtSettings | None = None
) -> AsyncIterator[tuple[TokenVerifier, JwksKeys]]:
    settings = settings or JwtSettings(jwks_url=provider.url)
    keys = JwksKeys(settings, clock)
    await keys.start()
    try:
        yield TokenVerifier(settings, keys, clock), keys
    finally:
        await keys.close()


async def test_each_kind_of_key_by_its_kid() -> None:
    async with running_provider() as provider:
        provider.publish(jwk("RS256", "r"), jwk("ES256", "e"), jwk("EdDSA", "o"))
        async with verifying(provider, ManualClock()) as (verifier, _):
            for algorithm, kid in (("RS256", "r"), ("ES256", "e"), ("EdDSA", "o")):
                assert await verifier.user_of(token("alice", algorithm=algorithm, kid=kid)) == "alice"
            with pytest.raises(TokenRefused, match="algorithm"):
                await verifier.user_of(token(algorithm="ES256", kid="r"))
            with pytest.raises(TokenRefused, match="published keys"):
                await verifier.user_of(token(algorithm="RS256"))
        assert provider.requests == 1


async def test_secret_is_never_taken_from_a_published_set() -> None:
    async with running_provider() as provider:
        provider.publish({"kty": "oct", "kid": "s", "k": "c2VjcmV0" * 10}, jwk("ES256", "e"))
        async with verifying(provider, ManualClock()) as (verifier, _):
            for kid in ("s", "e"):
                with pytest.raises(TokenRefused):
                    await verifier.user_of(token(algorithm="HS256", key=b"secret" * 10, kid=kid))


async def test_rotation_is_noticed_by_an_unknown_kid_at_once_and_then_seldom() -> None:
    clock = ManualClock()
    async with running_provider() as provider:
        provider.publish(jwk("ES256", "old"))
        async with verifying(provider, clock) as (verifier, _):
            new_key = ec.generate_private_key(ec.SECP256R1())
            provider.publish(jwk("ES256", "new", new_key))
            clock.advance_ms(11_000)
            assert await verifier.user_of(token(algorithm="ES256", key=new_key, kid="new")) == "u1"
            assert provider.requests == 2
            with pytest.raises(TokenRefused):
                await verifier.user_of(token(algorithm="ES256", kid="old"))
            for invented in range(20):
                with pytest.raises(TokenRefused):
                    await verifier.user_of(token(algorithm="ES256", key=new_key, kid=f"invented-{invented}"))
            assert provider.requests == 2


async def test_withdrawn_key_stops_being_good_once_the_set_is_old() -> None:
    clock = ManualClock()
    async with running_provider() as provider:
        provider.publish(jwk("ES256", "a"), jwk("RS256", "b"))
        async with verifying(provider, clock) as (verifier, _):
            provider.publish(jwk("RS256", "b"))
            assert await verifier.user_of(token(algorithm="ES256", kid="a")) == "u1"
            clock.advance_ms(601_000)

            async def refused() -> bool:
                try:
                    await verifier.user_of(token(algorithm="ES256", kid="a"))
                except TokenRefused:
                    return True
                return False

            await wait_until_async(refused, what="the withdrawn key is refused")
            assert await verifier.user_of(token(algorithm="RS256", kid="b")) == "u1"


async def test_known_keys_stay_good_while_the_provider_is_away_but_not_for_ever() -> None:
    clock = ManualClock()
    async with running_provider() as provider:
        provider.publish(jwk("ES256", "a"))
        async with verifying(provider, clock) as (verifier, keys):
            provider.status = 500
            with capture_logs() as logs:
                clock.advance_ms(3600_000)
                assert await verifier.user_of(token(algorithm="ES256", kid="a")) == "u1"
                await wait_until_async(lambda: "status 500" in str(logs), what="the warning")
            clock.advance_ms(23 * 3600_000 + 1)
            assert not keys.ready
            with pytest.raises(Unavailable):
                await verifier.user_of(token(algorithm="ES256", kid="a"))
            provider.status = 200
            clock.advance_ms(11_000)
            assert await verifier.user_of(token(algorithm="ES256", kid="a")) == "u1"
            assert keys.ready


async def test_provider_that_is_away_at_the_start_is_asked_again() -> None:
    clock = ManualClock()
    async with running_provider() as provider:
        provider.status = 503
        async with verifying(provider, clock) as (verifier, keys):
            assert not keys.ready
            with pytest.raises(Unavailable):
                await verifier.user_of(token(algorithm="ES256", kid="a"))
            provider.status = 200
            provider.publish(jwk("ES256", "a"))
            clock.advance_ms(11_000)
            assert await verifier.user_of(token(algorithm="ES256", kid="a")) == "u1"


async def test_all_who_wait_share_one_fetch() -> None:
    clock = ManualClock()
    async with running_provider() as provider:
        provider.publish(jwk("ES256", "a"))
        async with verifying(provider, clock) as (verifier, _):
            provider.hold = asyncio.Event()
            new_key = ec.generate_private_key(ec.SECP256R1())
            provider.publish(jwk("ES256", "b", new_key))
            clock.advance_ms(11_000)
            waiting = [
                asyncio.create_task(verifier.user_of(token(f"u{user}", algorithm="ES256", key=new_key, kid="b")))
                for user in range(10)
            ]
            gone = asyncio.create_task(verifier.user_of(token(algorithm="ES256", key=new_key, kid="b")))
            await wait_until_async(lambda: provider.requests == 2, what="the fetch")
            gone.cancel()
            assert await verifier.user_of(token(algorithm="ES256", kid="a")) == "u1", "known keys need not wait"
            provider.hold.set()
            assert await asyncio.gather(*waiting) == [f"u{user}" for user in range(10)]
            assert provider.requests == 2


@pytest.mark.parametrize("fault", ["huge", "garbage", "redirect", "hanging", "refused"])
async def test_bad_answer_of_the_provider_changes_nothing(fault: str) -> None:
    clock = ManualClock()
    async with running_provider() as provider:
        provider.publish(jwk("ES256", "a"))
        settings = replace(JwtSettings(jwks_url=provider.url), jwks_timeout_s=0.2 if fault == "hanging" else 5.0)
        async with verifying(provider, clock, settings) as (verifier, _):
            await _break(provider, fault)
            clock.advance_ms(601_000)
            with capture_logs() as logs:
                for _ in range(3):
                    assert await verifier.user_of(token(algorithm="ES256", kid="a")) == "u1"
                await wait_until_async(lambda: "cannot fetch" in str(logs), what="the warning")
            assert await verifier.user_of(token(algorithm="ES256", kid="a")) == "u1"
            if provider.hold is not None:
                provider.hold.set()


async def _break(provider: Provider, fault: str) -> None:
    if fault == "huge":
        provider.body += b" " * 300_000
    elif fault == "garbage":
        provider.body = b"<html>maintenance</html>"
    elif fault == "redirect":
        provider.status, provider.headers = 302, {"Location": provider.url}
    elif fault == "hanging":
        provider.hold = asyncio.Event()
    else:
        provider.status = 404


@pytest.mark.parametrize("failure", ["refused", "status", "no HTTP", "no such port"])
async def test_the_log_tells_where_keys_are_fetched_without_the_secrets_of_the_url(failure: str) -> None:
    async def answer_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/nonsense\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with running_provider() as provider, await asyncio.start_server(answer_nonsense, "127.0.0.1", 0) as nonsense:
        provider.status = 500
        url = {
            "refused": "http://127.0.0.1:1/jwks.json",
            "status": provider.url,
            "no HTTP": f"http://127.0.0.1:{nonsense.sockets[0].getsockname()[1]}/jwks.json",
            "no such port": "http://127.0.0.1:0/jwks.json",
        }[failure]
        settings = JwtSettings(jwks_url=f"{url}?key=hunter2&x=%41#hunter2")
        with capture_logs() as logs:
            async with verifying(provider, ManualClock(), settings) as (_, keys):
                assert not keys.ready
    assert [entry["url"] for entry in logs] == [url]
    assert "hunter2" not in str(logs)

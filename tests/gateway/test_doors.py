"""Who is let in over HTTP: good keys and tokens, and nobody else; a refusal changes nothing and shows nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from presencedb.credentials import Credentials, Principal, Right
from presencedb.gateway.keys import secret_key
from presencedb.gateway.settings import JwtSettings
from tests.gateway.issuing import SECRET, jwk, public_pem, running_provider, token, verification_key
from tests.gateway.serving import (
    ADMIN_KEY,
    CREDENTIALS,
    READER_KEY,
    SERVICE_KEY,
    WITH_KEYS,
    WITHOUT_KEYS,
    Served,
    answer_of,
    serving,
)

HEAD: Final = b'{"alg":"HS256","typ":"JWT"}'


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _unsigned(sub: str) -> str:
    payload = token(sub).split(".")[1]
    return f"{_base64(json.dumps({'alg': 'none', 'typ': 'JWT'}).encode())}.{payload}."


async def _refused(served: Served, headers: list[tuple[str, str]]) -> str:
    """Try every call with these credentials; all are refused in the same words, which are returned."""
    details: set[str] = set()
    for method, path, body in (
        ("POST", "/heartbeat", None),
        ("POST", "/heartbeat", {"user_id": "u1"}),
        ("POST", "/heartbeats", {"user_ids": ["u1"]}),
        ("DELETE", "/heartbeat", None),
        ("GET", "/status/users?ids=u1", None),
        ("POST", "/status/users", {"ids": ["u1"]}),
        ("GET", "/status/u1", None),
        ("GET", "/metrics", None),
        ("GET", "/", None),
    ):
        answer = await served.call(method, path, body=body, headers=headers)
        problem = answer.problem(401)
        assert problem["code"] == "unauthenticated"
        assert answer.headers["WWW-Authenticate"]
        assert SECRET.decode() not in problem["detail"]
        details.add(problem["detail"])
    assert await served.db.count() == 0
    assert len(details) == 1
    return details.pop()


def _bearer(text: str) -> list[tuple[str, str]]:
    return [("Authorization", f"Bearer {text}")]


async def test_nobody_without_a_good_token_or_key() -> None:
    other_secret = b"another secret of at least thirty-two bytes"
    jwt_settings = replace(WITH_KEYS, jwt=JwtSettings(key=verification_key("HS256"), audience="presence", issuer="login"))
    good: dict[str, Any] = {"aud": "presence", "iss": "login"}
    async with serving(jwt_settings) as served:
        for headers, words in (
            ([], "a key or token is needed"),
            (_bearer(token(key=other_secret, **good)), "signature"),
            (_bearer(token(expires_in_s=-3600, **good)), "expired"),
            (_bearer(token(expires_in_s=None, **good)), "no exp"),
            (_bearer(_unsigned("u1")), "algorithm"),
            (_bearer(token(aud="mail", iss="login")), "audience"),
            (_bearer(token(iss="login")), "no aud"),
            (_bearer(token(aud="presence", iss="evil")), "issuer"),
            (_bearer(token(aud="presence")), "no iss"),
            (_bearer(token("\0", **good)), "not an id"),
            (_bearer("x.y.z"), "can be read"),
            (_bearer(""), "can be read"),
            ([("Authorization", "Bearer")], "can be read"),
            ([("Authorization", token(aud="presence", iss="login"))], "begins with Bearer"),
            ([("Authorization", f"Basic {_base64(b'u1:' + SERVICE_KEY.encode())}")], "begins with Bearer"),
            ([("Authorization", f"ApiKey {SERVICE_KEY}x")], "API key is not known"),
            ([("X-API-Key", "")], "API key is not known"),
            ([("X-API-Key", "service")], "API key is not known"),
            ([("X-API-Key", "\u00fc" * 20)], "API key is not known"),
            ([("X-API-Key", SERVICE_KEY), *_bearer(token(aud="presence", iss="login"))], "not several"),
            ([("X-API-Key", SERVICE_KEY), ("X-API-Key", ADMIN_KEY)], "not several"),
            ([*_bearer(token(aud="presence", iss="login")), *_bearer(token(aud="presence", iss="login"))], "not several"),
        ):
            assert words in await _refused(served, headers)
        answer = await served.call("POST", "/heartbeat", token=token("u1", aud="presence", iss="login"))
        assert answer.status == 204
        assert await served.is_online("u1") is True


@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "ES256", "EdDSA"])
async def test_each_kind_of_key(algorithm: str) -> None:
    settings = replace(WITH_KEYS, credentials=None, jwt=JwtSettings(key=verification_key(algorithm)))
    async with serving(settings) as served:
        assert (await served.call("POST", "/heartbeat", token=token("u1", algorithm=algorithm))).status == 204
        assert await served.is_online("u1") is True
        for other in {"HS256", "RS256", "ES256", "EdDSA"} - {algorithm}:
            answer = await served.call("POST", "/heartbeat", token=token("u2", algorithm=other))
            assert "algorithm" in answer.problem(401)["detail"]
        assert await served.is_online("u2") is False


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_public_key_is_no_secret(algorithm: str) -> None:
    settings = replace(WITH_KEYS, jwt=JwtSettings(key=verification_key(algorithm)))
    async with serving(settings) as served:
        signed = f"{_base64(HEAD)}.{token('u1').split('.')[1]}"
        signature = hmac.digest(public_pem(algorithm), signed.encode(), hashlib.sha256)
        assert "algorithm" in await _refused(served, _bearer(f"{signed}.{_base64(signature)}"))


async def test_published_keys_through_rotation_and_outage() -> None:
    async with running_provider() as provider:
        provider.publish(jwk("RS256", "r"), jwk("ES256", "e"))
        settings = replace(WITH_KEYS, jwt=JwtSettings(jwks_url=provider.url, jwks_retry_s=0))
        async with serving(settings) as served:
            for algorithm, kid in (("RS256", "r"), ("ES256", "e")):
                answer = await served.call("POST", "/heartbeat", token=token(kid, algorithm=algorithm, kid=kid))
                assert answer.status == 204
            answer = await served.call("POST", "/heartbeat", token=token("u1", kid="r"))
            answer.problem(401)

            new_key = ec.generate_private_key(ec.SECP256R1())
            rotated = token("u1", algorithm="ES256", key=new_key, kid="new")
            (await served.call("POST", "/heartbeat", token=rotated)).problem(401)
            provider.publish(jwk("ES256", "new", new_key))
            assert (await served.call("POST", "/heartbeat", token=rotated)).status == 204
            (await served.call("POST", "/heartbeat", token=token("u2", algorithm="RS256", kid="r"))).problem(401)

            provider.status = 500
            assert (await served.call("POST", "/heartbeat", token=rotated)).status == 204
            (await served.call("POST", "/heartbeat", token=token("u2", algorithm="ES256", kid="x"))).problem(401)
            assert await served.is_online("u2") is False


async def test_keys_that_were_never_fetched_are_no_fault_of_the_token() -> None:
    async with running_provider() as provider:
        provider.status = 500
        async with serving(replace(WITH_KEYS, jwt=JwtSettings(jwks_url=provider.url))) as served:
            answer = await served.call("POST", "/heartbeat", token=token("u1", algorithm="ES256", kid="e"))
            assert answer.problem(503)["code"] == "unavailable"
            assert answer.headers["Retry-After"] == "1"
            assert (await served.call("GET", "/status/u1", key=READER_KEY)).status == 200
            assert "keys" in (await served.call("GET", "/readyz")).problem(503)["detail"]
            assert await served.db.count() == 0


async def test_kind_of_credential_that_cannot_be_checked_is_refused() -> None:
    async with serving(replace(WITH_KEYS, jwt=None)) as served:
        assert "API keys only" in await _refused(served, _bearer(token()))
    async with serving(replace(WITH_KEYS, credentials=None)) as served:
        assert "user tokens only" in await _refused(served, [("X-API-Key", SERVICE_KEY)])


async def test_challenges_name_what_is_taken() -> None:
    async with serving() as served, served.session.post(f"{served.url}/heartbeat") as response:
        assert response.headers.getall("WWW-Authenticate") == ['Bearer realm="presencedb"', 'ApiKey realm="presencedb"']
    async with serving(replace(WITH_KEYS, credentials=None)) as served:
        answer = await served.call("POST", "/heartbeat", token="x")
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="presencedb", error="invalid_token"'


async def test_keys_are_exchanged_while_it_runs() -> None:
    async with serving() as served:
        new_credentials = Credentials([("the new key of the service", Principal("service", frozenset({Right.WRITE})))])
        served.gateway.set_credentials(new_credentials)
        (await served.call("POST", "/heartbeat", key=SERVICE_KEY, body={"user_id": "u1"})).problem(401)
        answer = await served.call("POST", "/heartbeat", key="the new key of the service", body={"user_id": "u1"})
        assert answer.status == 204
        new_secret = b"the new secret, of thirty-two bytes or more"
        served.gateway.set_jwt_key(secret_key(new_secret))
        (await served.call("POST", "/heartbeat", token=token("u2"))).problem(401)
        assert (await served.call("POST", "/heartbeat", token=token("u2", key=new_secret))).status == 204
    async with serving(WITHOUT_KEYS) as served:
        with pytest.raises(RuntimeError):
            served.gateway.set_credentials(CREDENTIALS)
        with pytest.raises(RuntimeError):
            served.gateway.set_jwt_key(verification_key("HS256"))


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "presence.example.com"}, "loopback_host"),
        ({"Host": "127.0.0.1.nip.io:7412"}, "loopback_host"),
        ({"Origin": "https://example.com"}, "loopback_origin"),
        ({"Origin": "null"}, "loopback_origin"),
        ({"Forwarded": "for=192.0.2.60"}, "loopback_proxy"),
        ({"X-Forwarded-For": "127.0.0.1"}, "loopback_proxy"),
        ({"x-forwarded-proto": "https"}, "loopback_proxy"),
    ],
)
async def test_without_keys_web_pages_and_proxies_are_refused(headers: dict[str, str], code: str) -> None:
    async with serving(WITHOUT_KEYS) as served:
        for method, path, body in (
            ("POST", "/heartbeat", {"user_id": "u1"}),
            ("DELETE", "/heartbeat", {"user_id": "u1"}),
            ("OPTIONS", "/heartbeat", None),
            ("GET", "/status/u1", None),
            ("GET", "/healthz", None),
            ("GET", "/metrics", None),
            ("GET", "/nothing", None),
        ):
            problem = (await served.call(method, path, body=body, headers=headers)).problem(403)
            assert problem["code"] == code
            assert "--api-keys" in problem["detail"]
        assert await served.db.count() == 0


@pytest.mark.parametrize("host", ["localhost", "localhost:7412", "127.0.0.1", "127.8.9.1:80", "[::1]:7412"])
async def test_without_keys_this_machine_is_served(host: str) -> None:
    async with serving(WITHOUT_KEYS) as served:
        for headers in ({"Host": host}, {"Host": host, "Origin": f"http://{host}"}):
            assert (await served.call("POST", "/heartbeat", body={"user_id": "u1"}, headers=headers)).status == 204


async def test_form_of_a_web_page_cannot_write() -> None:
    async with serving(WITHOUT_KEYS) as served:
        answer = await served.call("POST", "/heartbeat", data=b'{"user_id": "u1"}', headers={"Content-Type": "text/plain"})
        answer.problem(415)
        assert await served.db.count() == 0


async def test_a_second_header_does_not_hide_behind_a_good_first_one() -> None:
    async with serving(WITHOUT_KEYS) as served:
        body = b'{"user_id": "u1"}'
        fields = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": str(len(body))}
        for name, second, status in (
            ("Origin", "https://example.com", 403),
            ("Host", "example.com", 400),
            ("Content-Type", "text/plain", 400),
        ):
            head = [*fields.items(), ("Origin", "http://localhost"), (name, second), ("Connection", "close")]
            lines = "".join(f"{field}: {value}\r\n" for field, value in head)
            answer = answer_of(await served.raw(b"POST /heartbeat HTTP/1.1\r\n" + lines.encode() + b"\r\n" + body))
            answer.problem(status)
        assert await served.db.count() == 0


async def test_with_keys_a_proxy_is_welcome() -> None:
    async with serving() as served:
        headers = {"Host": "presence.example.com", "X-Forwarded-For": "192.0.2.60", "Origin": "https://example.com"}
        answer = await served.call("POST", "/heartbeat", token=token("u1"), headers=headers)
        assert answer.status == 204

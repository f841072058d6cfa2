"""User tokens: good ones name their user, and each way of being bad is refused for its own reason."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from presencedb.clock import SystemClock
from presencedb.gateway.settings import JwtSettings
from presencedb.gateway.tokens import OneKey, TokenRefused, TokenVerifier
from tests.gateway.issuing import SECRET, public_pem, token, verification_key
from tests.support.async_tests import run_async

ALGORITHMS = ["HS256", "RS256", "ES256", "EdDSA"]


def verifier(
    algorithm: str = "HS256", audience: str | None = None, issuer: str | None = None, leeway_s: float = 0
) -> TokenVerifier:
    key = verification_key(algorithm)
    settings = JwtSettings(key=key, audience=audience, issuer=issuer, leeway_s=leeway_s)
    return TokenVerifier(settings, OneKey(key), SystemClock())


async def reason_of_refusal(checked: TokenVerifier, text: str) -> str:
    with pytest.raises(TokenRefused) as refusal:
        await checked.user_of(text)
    assert SECRET.decode() not in refusal.value.message
    return refusal.value.reason


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_good_token_names_its_user(algorithm: str) -> None:
    assert await verifier(algorithm).user_of(token("alice", algorithm=algorithm)) == "alice"
    assert await verifier(algorithm).user_of(token("42", algorithm=algorithm)) == 42


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_another_signature_is_refused(algorithm: str) -> None:
    good = token(algorithm=algorithm)
    head, payload, signature = good.split(".")
    forged_payload = base64.urlsafe_b64encode(json.dumps({"sub": "root", "exp": time.time() + 60}).encode()).decode()
    for forged in (
        f"{head}.{forged_payload.rstrip('=')}.{signature}",
        f"{head}.{payload}.{signature[:-8]}{'A' * 8}",
        f"{head}.{payload}.",
    ):
        assert await reason_of_refusal(verifier(algorithm), forged) == "signature"


async def test_claims_decide() -> None:
    now = int(time.time())
    checked = verifier(audience="presence", issuer="https://login.example.com")
    good: dict[str, Any] = {"aud": "presence", "iss": "https://login.example.com"}
    assert await checked.user_of(token("u1", **good)) == "u1"
    assert await checked.user_of(token("u1", **good | {"aud": ["mail", "presence"]})) == "u1"
    for claims, reason in (
        ({"expires_in_s": -5}, "expired"),
        ({"expires_in_s": None}, "claims"),
        ({"sub": None}, "claims"),
        ({"nbf": now + 600}, "immature"),
        ({"iat": now + 600}, "immature"),
        ({"aud": "mail"}, "audience"),
        ({"aud": None}, "claims"),
        ({"iss": "https://evil.example.com"}, "issuer"),
        ({"iss": None}, "claims"),
        ({"sub": "x" * 256}, "subject"),
        ({"sub": ""}, "subject"),
        ({"sub": "a\0b"}, "subject"),
        ({"exp": "soon"}, "malformed"),
        ({"exp": [1]}, "malformed"),
    ):
        assert await reason_of_refusal(checked, token(**good | claims)) == reason, claims


async def test_token_for_an_audience_needs_one_configured() -> None:
    assert await reason_of_refusal(verifier(), token(aud="mail")) == "audience"


async def test_subject_that_is_a_number_is_refused() -> None:
    text = jwt.encode({"exp": int(time.time()) + 60}, SECRET, algorithm="HS256")
    head = text.split(".")[0]
    payload = base64.urlsafe_b64encode(json.dumps({"sub": 42, "exp": int(time.time()) + 60}).encode()).decode().rstrip("=")
    signed = jwt.api_jws.PyJWS().encode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), SECRET, "HS256")
    assert signed.startswith(head)
    assert await reason_of_refusal(verifier(), signed) == "subject"


async def test_leeway_forgives_clocks_that_differ_a_little() -> None:
    lenient = verifier(leeway_s=30)
    assert await lenient.user_of(token(expires_in_s=-10)) == "u1"
    assert await lenient.user_of(token(nbf=int(time.time()) + 10)) == "u1"
    assert await reason_of_refusal(lenient, token(expires_in_s=-60)) == "expired"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_unsigned_token_is_refused(algorithm: str) -> None:
    for name in ("none", "None", "NONE", "nOnE"):
        head = base64.urlsafe_b64encode(json.dumps({"alg": name, "typ": "JWT"}).encode()).decode().rstrip("=")
        payload = token().split(".")[1]
        assert await reason_of_refusal(verifier(algorithm), f"{head}.{payload}.") == "algorithm"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_public_key_is_no_secret(algorithm: str) -> None:
    # PyJWT itself refuses to sign with a PEM, so the attacker's token is put together by hand.
    import hashlib
    import hmac

    pem = public_pem(algorithm)
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=")
    payload = token().split(".")[1].encode()
    signature = base64.urlsafe_b64encode(hmac.digest(pem, head + b"." + payload, hashlib.sha256)).rstrip(b"=")
    forged = (head + b"." + payload + b"." + signature).decode()
    assert await reason_of_refusal(verifier(algorithm), forged) == "algorithm"


async def test_other_algorithm_of_the_same_kind_of_key_is_refused() -> None:
    assert await reason_of_refusal(verifier("RS256"), token(algorithm="RS512", key=_rsa())) == "algorithm"
    assert await reason_of_refusal(verifier("HS256"), token(algorithm="HS512", key=SECRET * 2)) == "algorithm"
    other = ec.generate_private_key(ec.SECP256R1())
    assert await reason_of_refusal(verifier("ES256"), token(algorithm="ES256", key=other)) == "signature"


def _rsa() -> object:
    from tests.gateway.issuing import private_key

    return private_key("RS256")


segments = st.binary(max_size=40).map(lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="))
headers = st.dictionaries(
    st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "x5c"]),
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["HS256", "none", "RS256", ""])
    | st.lists(st.text(), max_size=2),
).map(lambda header: base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("="))


@given(st.text(max_size=60) | st.lists(segments | headers, min_size=1, max_size=5).map(".".join))
def test_garbage_is_refused_and_nothing_else(text: str) -> None:
    async def check() -> None:
        assert await reason_of_refusal(verifier(), text) in {"malformed", "algorithm", "signature"}

    run_async(check)


@pytest.mark.parametrize(
    "payload", [b"[" * 9000, b"[]", b"null", b'{"sub":"u1","exp":1e999}', b'{"sub":"u1","exp":NaN}', b"\xff"]
)
async def test_signed_nonsense_is_refused(payload: bytes) -> None:
    signed = jwt.api_jws.PyJWS().encode(payload, SECRET, "HS256")
    assert await reason_of_refusal(verifier(), signed) == "malformed"


async def test_header_of_brackets_is_refused() -> None:
    head = base64.urlsafe_b64encode(b'{"alg":' + b"[" * 9000).decode().rstrip("=")
    assert await reason_of_refusal(verifier(), f"{head}.e30.AAAA") == "malformed"

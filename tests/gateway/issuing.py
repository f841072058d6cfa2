"""Whoever issues user tokens in these tests: keys of each kind, tokens good and bad, and a server of published keys."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, Final, TypeAlias

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from presencedb.gateway.keys import VerificationKey, public_key, secret_key

SECRET: Final = b"a secret of thirty-two bytes or more"
PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@cache
def private_key(algorithm: str) -> PrivateKey:
    """The one private key of these tests for RS256, ES256 or EdDSA."""
    if algorithm == "RS256":
        return rsa.generate_private_key(65537, 2048)
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate()


def signing_key(algorithm: str) -> Any:
    return SECRET if algorithm == "HS256" else private_key(algorithm)


def verification_key(algorithm: str) -> VerificationKey:
    return secret_key(SECRET) if algorithm == "HS256" else public_key(private_key(algorithm).public_key())


def public_pem(algorithm: str) -> bytes:
    return private_key(algorithm).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def private_pem(algorithm: str) -> bytes:
    return private_key(algorithm).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def token(
    sub: object = "u1",
    *,
    algorithm: str = "HS256",
    key: Any = None,
    kid: str | None = None,
    expires_in_s: float | None = 3600,
    **claims: object,
) -> str:
    """A token; a claim of None is left out."""
    payload = {"sub": sub, "exp": None if expires_in_s is None else int(time.time() + expires_in_s), **claims}
    return jwt.encode(
        {name: value for name, value in payload.items() if value is not None},
        key if key is not None else signing_key(algorithm),
        algorithm=algorithm,
        headers=None if kid is None else {"kid": kid},
    )


def jwk(algorithm: str, kid: str | None, key: PrivateKey | None = None, **members: object) -> dict[str, Any]:
    """The public half of a key as an entry of a JWKS."""
    public = (key or private_key(algorithm)).public_key()
    if isinstance(public, rsa.RSAPublicKey):
        entry = RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        entry = ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        entry = OKPAlgorithm.to_jwk(public, as_dict=True)
    entry = {name: value for name, value in entry.items() if name != "key_ops"}
    return {**entry, **({} if kid is None else {"kid": kid}), **members}


class Provider:
    """An identity provider's server of published keys.

    Attributes:
        body: what it answers.
        status: with which status.
        hold: while set, answers are kept back.
    """

    def __init__(self) -> None:
        self.body = b""
        self.status = 200
        self.headers: dict[str, str] = {}
        self.requests = 0
        self.hold: asyncio.Event | None = None
        self.url = ""

    def publish(self, *entries: dict[str, Any]) -> None:
        self.body = json.dumps({"keys": entries}).encode()

    async def handle(self, request: web.BaseRequest) -> web.Response:
        self.requests += 1
        if self.hold is not None:
            await self.hold.wait()
        return web.Response(status=self.status, body=self.body, headers=self.headers)


@asynccontextmanager
async def running_provider() -> AsyncIterator[Provider]:
    provider = Provider()
    runner = web.ServerRunner(web.Server(provider.handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    provider.url = f"http://{host}:{port}/jwks.json"
    try:
        yield provider
    finally:
        await runner.cleanup()

"""The keys that user tokens (JWT) are checked with. The kind of a key fixes the one algorithm it is good for.

A token says by itself how it is signed; believing it is how an RSA public key, which anybody has, gets used as an HMAC
secret (RFC 8725, section 2.1). So the algorithm comes from here and never from the token.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from presencedb.errors import ConfigError
from presencedb.limits import JWKS_KEYS_MAX, JWT_RSA_BITS_MIN, JWT_SECRET_BYTES_MIN

PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

_JWK_READERS: Final = {"RSA": RSAAlgorithm.from_jwk, "EC": ECAlgorithm.from_jwk, "OKP": OKPAlgorithm.from_jwk}
"""Kinds of key in a JWKS. Symmetric ones (`oct`) are not among them: a published secret is none."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key, and the only algorithm that a token checked with it may name."""

    algorithm: str
    key: bytes | PublicKey = field(repr=False)


def secret_key(secret: bytes) -> VerificationKey:
    """The key for HS256.

    Raises:
        ValueError: the secret is shorter than its hash.
    """
    if len(secret) < JWT_SECRET_BYTES_MIN:
        raise ValueError(
            f"an HS256 secret has at least {JWT_SECRET_BYTES_MIN} bytes, this one has {len(secret)};"
            " `openssl rand -hex 32` makes a good one"
        )
    return VerificationKey("HS256", secret)


def public_key(key: object) -> VerificationKey:
    """The key for RS256, ES256 or EdDSA, whichever this kind of key is for.

    Raises:
        ValueError: another kind of key, a private one, or one too short.
    """
    if isinstance(key, RSAPublicKey):
        if key.key_size < JWT_RSA_BITS_MIN:
            raise ValueError(f"an RSA key has at least {JWT_RSA_BITS_MIN} bits, this one has {key.key_size}")
        return VerificationKey("RS256", key)
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return VerificationKey("ES256", key)
    if isinstance(key, Ed25519PublicKey):
        return VerificationKey("EdDSA", key)
    raise ValueError("a public key is RSA (RS256), EC on P-256 (ES256) or Ed25519 (EdDSA)")


def load_jwt_key(path: Path) -> VerificationKey:
    """Read the file of a key: PEM of a public key or certificate, or else a secret for HS256, of which white space at the
    end is no part.

    Raises:
        ConfigError: it cannot be read, or is no key that can be used; the message never shows what is in it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    try:
        return public_key(_load_pem(data)) if b"-----BEGIN" in data else secret_key(data.rstrip())
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None


def _load_pem(data: bytes) -> object:
    if b"PRIVATE KEY-----" in data:
        raise ValueError(
            "this is a private key, which only whoever issues tokens should have; write the public one:"
            " `openssl pkey -in private.pem -pubout`"
        )
    try:
        if b"BEGIN CERTIFICATE-----" in data:
            return x509.load_pem_x509_certificate(data).public_key()
        return load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("not a public key or certificate in PEM") from None


def read_jwks(document: bytes) -> dict[str | None, VerificationKey]:
    """The usable keys of a JSON Web Key Set (RFC 7517), by `kid`. None stands for the one key of a set of one.

    What cannot be used is passed over: other kinds, other algorithms, keys to encrypt with, private keys.

    Raises:
        ValueError: not a JWKS, or no key in it can be used.
    """
    try:
        entries = json.loads(document)["keys"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise ValueError("not a JSON Web Key Set") from None
    if not isinstance(entries, list) or len(entries) > JWKS_KEYS_MAX:
        raise ValueError(f"not a JSON Web Key Set of at most {JWKS_KEYS_MAX} keys")
    keys: dict[str | None, VerificationKey] = {}
    for entry in entries:
        key = _read_jwk(entry)
        if key is not None:
            kid = entry.get("kid")
            keys.setdefault(kid if isinstance(kid, str) else None, key)
    if not keys:
        raise ValueError("no key in the set is RSA (RS256), EC on P-256 (ES256) or Ed25519 (EdDSA)")
    if len(keys) == 1:
        keys.setdefault(None, next(iter(keys.values())))
    return keys


def _read_jwk(entry: Any) -> VerificationKey | None:
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    reader = _JWK_READERS.get(str(entry.get("kty")))
    if reader is None:
        return None
    try:
        key = public_key(reader(entry))
    except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError, UnsupportedAlgorithm):
        # Whatever a reader makes of a strange entry, the other keys of the set are still good.
        return None
    return key if entry.get("alg", key.algorithm) == key.algorithm else None

"""Files of keys and published keys: the kind of a key fixes its algorithm, and what is no good is refused by name."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from presencedb.errors import ConfigError
from presencedb.gateway.keys import load_jwt_key, read_jwks
from tests.gateway.issuing import SECRET, jwk, private_key, private_pem, public_pem


def _file(folder: Path, data: bytes) -> Path:
    path = folder / "jwt.key"
    path.write_bytes(data)
    return path


def test_secret_is_for_hs256(tmp_path: Path) -> None:
    key = load_jwt_key(_file(tmp_path, SECRET + b"\r\n"))
    assert (key.algorithm, key.key) == ("HS256", SECRET)
    assert SECRET.decode() not in repr(key)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_public_key_fixes_its_algorithm(tmp_path: Path, algorithm: str) -> None:
    assert load_jwt_key(_file(tmp_path, public_pem(algorithm))).algorithm == algorithm


def test_certificate_is_as_good_as_its_key(tmp_path: Path) -> None:
    key = private_key("ES256")
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "login.example.com")])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=900))
        .sign(key, SHA256())
    )
    assert load_jwt_key(_file(tmp_path, certificate.public_bytes(Encoding.PEM))).algorithm == "ES256"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"short", "at least 32 bytes, this one has 5; `openssl rand -hex 32`"),
        (b"", "at least 32 bytes"),
        (private_pem("RS256"), "this is a private key"),
        (b"-----BEGIN PUBLIC KEY-----\nnonsense\n-----END PUBLIC KEY-----\n", "not a public key or certificate in PEM"),
        (b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n", "not a public key or certificate"),
    ],
)
def test_file_that_is_no_key_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=r"jwt\.key") as refusal:
        load_jwt_key(_file(tmp_path, data))
    assert message in refusal.value.message


def test_other_curves_and_short_keys_are_refused(tmp_path: Path) -> None:
    other_curve = ec.generate_private_key(ec.SECP384R1()).public_key()
    short = rsa.generate_private_key(65537, 1024).public_key()
    for key, message in ((other_curve, "EC on P-256"), (short, "at least 2048 bits, this one has 1024")):
        pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        with pytest.raises(ConfigError, match=message):
            load_jwt_key(_file(tmp_path, pem))


def test_encrypted_private_key_is_named_as_private(tmp_path: Path) -> None:
    pem = private_key("ES256").private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    with pytest.raises(ConfigError, match="private key"):
        load_jwt_key(_file(tmp_path, pem))


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*nowhere: No such file"):
        load_jwt_key(tmp_path / "nowhere")


def _set_of(*entries: object) -> bytes:
    return json.dumps({"keys": entries}).encode()


def test_published_keys_are_found_by_kid() -> None:
    keys = read_jwks(_set_of(jwk("RS256", "a"), jwk("ES256", "b", alg="ES256", use="sig"), jwk("EdDSA", "c")))
    assert {kid: key.algorithm for kid, key in keys.items()} == {"a": "RS256", "b": "ES256", "c": "EdDSA"}


def test_only_key_needs_no_kid() -> None:
    keys = read_jwks(_set_of(jwk("RS256", "a")))
    assert keys[None] is keys["a"]


def test_what_is_no_key_to_verify_with_is_passed_over() -> None:
    symmetric = {"kty": "oct", "kid": "s", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75"}
    leaked = json.loads(_jwk_of_private_half("x"))
    keys = read_jwks(
        _set_of(
            symmetric,
            leaked,
            jwk("RS256", "e", use="enc"),
            jwk("RS256", "p", alg="PS256"),
            {"kty": "RSA", "kid": "broken", "n": 5},
            {"kty": ["RSA"]},
            "text",
            None,
            jwk("ES256", "good"),
        )
    )
    assert set(keys) == {"good", None}


def _jwk_of_private_half(kid: str) -> str:
    from jwt.algorithms import ECAlgorithm

    key = private_key("ES256")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return json.dumps({**ECAlgorithm.to_jwk(key, as_dict=True), "kid": kid})


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b"{}", b'{"keys": []}', b'{"keys": {}}', b"[" * 100_000, b'{"keys": [{}]}', _set_of(*[{}] * 101)],
)
def test_document_without_usable_keys_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError, match=r"[kK]ey"):
        read_jwks(document)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.fixed_dictionaries(
        {"kty": st.sampled_from(["RSA", "EC", "OKP", "oct"]) | json_values},
        optional={
            name: json_values | st.sampled_from(["P-256", "Ed25519", "AQAB", "sig"])
            for name in ("kid", "use", "alg", "crv", "x", "y", "n", "e", "d", "oth")
        },
    )
)
def test_strange_entry_never_spoils_the_others(entry: dict[str, object]) -> None:
    assert "good" in read_jwks(_set_of(entry, jwk("ES256", "good")))

"""Settings that cannot be meant are refused before anything listens."""

from __future__ import annotations

import pytest

from presencedb.credentials import Credentials, Principal, Right
from presencedb.errors import ConfigError
from presencedb.gateway.settings import GatewaySettings, JwtSettings
from tests.gateway.issuing import verification_key

CREDENTIALS = Credentials([("a secret key", Principal("service", frozenset({Right.READ})))])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "example.com", "127.0.0.1.example.com"])
def test_without_keys_only_loopback_is_served(host: str) -> None:
    with pytest.raises(ConfigError, match="--api-keys, --jwt-key or --jwks-url, or --insecure"):
        GatewaySettings(listen=(host, 0))
    assert not GatewaySettings(listen=(host, 0), credentials=CREDENTIALS).keyless
    assert not GatewaySettings(listen=(host, 0), jwt=JwtSettings(key=verification_key("HS256"))).keyless
    assert GatewaySettings(listen=(host, 0), insecure=True).keyless


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.8.7", "::1", "localhost", "LocalHost"])
def test_without_keys_loopback_is_served(host: str) -> None:
    assert GatewaySettings(listen=(host, 0)).keyless


def test_one_way_of_checking_tokens() -> None:
    with pytest.raises(ConfigError, match="give one of them"):
        JwtSettings()
    with pytest.raises(ConfigError, match="give one of them"):
        JwtSettings(key=verification_key("HS256"), jwks_url="https://login.example.com/jwks")


@pytest.mark.parametrize(
    "url", ["login.example.com", "ftp://login.example.com/jwks", "https://", "http://login.example.com/jwks", "https://[/"]
)
def test_published_keys_come_over_https(url: str) -> None:
    with pytest.raises(ConfigError, match="--jwks-url"):
        JwtSettings(jwks_url=url)


@pytest.mark.parametrize("url", ["https://login.example.com/jwks", "http://127.0.0.1:8080/jwks", "http://[::1]:80/jwks"])
def test_good_urls_of_published_keys(url: str) -> None:
    assert JwtSettings(jwks_url=url).jwks_url == url


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@login.example.com/jwks",
        "https://hunter2@login.example.com/jwks",
        "https://:hunter2@login.example.com/jwks",
        "http://login.example.com/jwks?key=hunter2",
        "ftp://login.example.com/jwks?key=hunter2",
        "user:hunter2@login.example.com/jwks",
        "https://user:hunter2@[/",
    ],
)
def test_a_url_of_published_keys_that_is_refused_is_not_repeated_with_its_secrets(url: str) -> None:
    with pytest.raises(ConfigError, match="--jwks-url") as refusal:
        JwtSettings(jwks_url=url)
    assert "hunter2" not in refusal.value.message

"""The URLs that a client takes, and what it says about others."""

from __future__ import annotations

import pytest

from presencedb.client.url import TcpAddress, UnixAddress, names_cluster, parse_url
from presencedb.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "addresses"),
    [
        ("presence://localhost", [("localhost", 7411, False)]),
        ("presence://localhost/", [("localhost", 7411, False)]),
        ("presence://10.0.0.1:1", [("10.0.0.1", 1, False)]),
        ("PRESENCE://Host:65535", [("Host", 65535, False)]),
        ("presence://r1,r2:7412,r3", [("r1", 7411, False), ("r2", 7412, False), ("r3", 7411, False)]),
        ("presence://[::1]", [("::1", 7411, False)]),
        ("presence://[::1]:9,[fe80::1%eth0],r1", [("::1", 9, False), ("fe80::1%eth0", 7411, False), ("r1", 7411, False)]),
        ("presence+tls://db.example.com.:7411", [("db.example.com.", 7411, True)]),
        ("presence://bücher.example", [("xn--bcher-kva.example", 7411, False)]),
        ("presence://presence_db-1", [("presence_db-1", 7411, False)]),
        ("presence+cluster://n1,n2:7412", [("n1", 7411, False), ("n2", 7412, False)]),
        ("presence+cluster+tls://n1", [("n1", 7411, True)]),
    ],
)
def test_tcp_forms(url: str, addresses: list[tuple[str, int, bool]]) -> None:
    assert parse_url(url) == tuple(TcpAddress(*address) for address in addresses)


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("presence+cluster://n1", True),
        ("Presence+Cluster+TLS://n1", True),
        ("presence://n1", False),
        ("presence+unix:///presence+cluster://", False),
    ],
)
def test_a_url_names_a_cluster_or_not(url: str, names: bool) -> None:
    assert names_cluster(url) is names


def test_unix_form_takes_the_path_as_it_is() -> None:
    assert parse_url("presence+unix:///run/a%20b@c?d.sock") == (UnixAddress("/run/a%20b@c?d.sock"),)


@pytest.mark.parametrize("url", ["presence://r1:7411", "presence+tls://[::1]:7411", "presence+unix:///run/x.sock"])
def test_an_address_is_written_as_a_url(url: str) -> None:
    (address,) = parse_url(url)
    assert str(address) == url


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "has no scheme"),
        ("localhost:7411", "has no scheme"),
        ("redis://localhost", "no scheme 'redis'"),
        ("presence+cluster+unix:///run/x.sock", "no scheme 'presence\\+cluster\\+unix'"),
        ("presence+cluster://", "names no host"),
        ("presence://", "names no host"),
        ("presence:///run/x.sock", "path"),
        ("presence://:7411", "names no host"),
        ("presence://r1,,r2", "between two commas"),
        ("presence://r1,", "between two commas"),
        ("presence://r1:", "port ''"),
        ("presence://r1:0", "port '0'"),
        ("presence://r1:65536", "port '65536'"),
        ("presence://r1:7411x", "port '7411x'"),
        ("presence://r1:٧٤١١", "port"),
        ("presence://::1:7411", "brackets"),
        ("presence://[::1", "IPv6 address in brackets"),
        ("presence://[::1]7411", "IPv6 address in brackets"),
        ("presence://[localhost]:7411", "not an IPv6 address"),
        ("presence://r 1", "not the name of a host"),
        ("presence://r1..example", "not the name of a host"),
        ("presence://" + "a" * 64, "more than 63"),
        ("presence://ü..example", "not the name of a host"),
        ("presence://r1/users", "means nothing here"),
        ("presence://r1?x=1", "means nothing here"),
        ("presence://r1#x", "means nothing here"),
        ("presence+unix://run/x.sock", "absolute path"),
        ("presence+unix:///", "absolute path"),
        ("presence+unix:///" + "x" * 107, "108 bytes, a Unix socket takes at most 107"),
        ("presence+unix:///x\0y", "NUL"),
    ],
)
def test_wrong_urls_say_what_is_wrong_and_which_forms_there_are(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        parse_url(url)
    assert "presence://HOST" in caught.value.message
    assert "presence+unix:///PATH" in caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        "presence://token:s3cret-s3cret@r1",
        "presence://s3cret-s3cret@r1:7411",
        "s3cret-s3cret@r1",
        "presence://r1/?s3cret-s3cret",
        "presence://token:12/s3cret-s3cret@r1",
        "presence+unix://token:x/s3cret-s3cret@r1",
        "http://r1/?s3cret-s3cret",
        "r1/?s3cret-s3cret",
    ],
)
def test_a_secret_in_the_url_is_refused_and_never_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_url(url)
    assert "s3cret" not in str(caught.value)


def test_user_info_is_answered_with_where_a_token_goes() -> None:
    with pytest.raises(ConfigError, match="PRESENCEDB_TOKEN"):
        parse_url("presence://secret@r1")


def test_a_url_is_text() -> None:
    with pytest.raises(ConfigError, match="not bytes"):
        parse_url(b"presence://r1")  # type: ignore[arg-type]  # what the test is about

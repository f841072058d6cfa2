"""The rules of a gateway without keys: who gives themselves away as a web page or a proxy is refused."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from presencedb.gateway.loopback import refuse_strangers
from presencedb.gateway.problems import Problem


def _check(authority: str | None = None, **fields: str) -> None:
    headers = {"Host": "127.0.0.1:7412", **{name.replace("_", "-"): value for name, value in fields.items()}}
    refuse_strangers(CIMultiDictProxy(CIMultiDict(headers)), authority)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:7412", "127.1.2.3:80", "localhost", "LOCALHOST:7412", "[::1]", "[::1]:7412"]
)
def test_loopback_hosts_are_served(host: str) -> None:
    _check(Host=host)
    _check(authority=host)
    _check(Origin=f"http://{host}")
    _check(Origin=f"https://{host}")


@pytest.mark.parametrize(
    "host",
    [
        "",
        "example.com",
        "127.0.0.1.nip.io",
        "localhost.example.com",
        "localhost@example.com",
        "example.com:7412",
        "192.168.0.1",
        "[::2]",
        "0.0.0.0",
        "127.0.0.1:7412:80",
        "127.0.0.1, example.com",
        "127.0.0.1:",
        "\u217focalhost",
        "localhost\u0000",
        "::1",
    ],
)
def test_other_hosts_are_refused(host: str) -> None:
    with pytest.raises(Problem, match="this Host") as refusal:
        _check(Host=host)
    assert (refusal.value.status, refusal.value.code) == (403, "loopback_host")
    assert "--api-keys" in refusal.value.detail
    with pytest.raises(Problem):
        _check(authority=host)


@pytest.mark.parametrize(
    "origin",
    ["null", "", "http://example.com", "http://127.0.0.1.nip.io", "file://", "chrome-extension://localhost", "http://["],
)
def test_pages_from_elsewhere_are_refused(origin: str) -> None:
    with pytest.raises(Problem, match="web page") as refusal:
        _check(Origin=origin)
    assert (refusal.value.status, refusal.value.code) == (403, "loopback_origin")


@pytest.mark.parametrize(
    "name", ["Forwarded", "X-Forwarded-For", "x-forwarded-host", "X-FORWARDED-PROTO", "X-Real-IP", "Via"]
)
def test_proxies_are_refused(name: str) -> None:
    with pytest.raises(Problem, match="proxy") as refusal:
        _check(**{name: "127.0.0.1"})
    assert (refusal.value.status, refusal.value.code) == (403, "loopback_proxy")


def _refused_code(fields: list[tuple[str, str]]) -> str:
    with pytest.raises(Problem) as refusal:
        refuse_strangers(CIMultiDictProxy(CIMultiDict(fields)), None)
    return refusal.value.code


@pytest.mark.parametrize("first_is_good", [True, False])
def test_a_header_that_comes_twice_is_good_only_if_both_are(first_is_good: bool) -> None:
    def twice(name: str, good: str, bad: str) -> list[tuple[str, str]]:
        return [(name, good), (name, bad)] if first_is_good else [(name, bad), (name, good)]

    host = ("Host", "127.0.0.1:7412")
    assert _refused_code([host, *twice("Origin", "http://localhost", "https://example.com")]) == "loopback_origin"
    assert _refused_code(twice("Host", "localhost", "example.com")) == "loopback_host"
    refuse_strangers(CIMultiDictProxy(CIMultiDict([host, host, *[("Origin", "http://localhost")] * 2])), None)


def test_a_request_without_host_is_refused() -> None:
    assert _refused_code([]) == "loopback_host"

"""The rules of a gateway without keys: programs of this machine are served, web pages and proxies are not.

Listening on loopback alone is not enough. A page from anywhere can have this machine's browser send requests to it (and,
with a name that it lets resolve to 127.0.0.1, read the answers), and a proxy on this machine hands on requests from
anywhere. Both give themselves away in the head of their requests.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from multidict import CIMultiDictProxy

from presencedb.gateway.problems import Problem
from presencedb.units import is_loopback

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?", re.ASCII)
_PROXY_FIELDS: Final = frozenset({"forwarded", "via", "x-real-ip"})
_PROXY_PREFIX: Final = "x-forwarded"
_CURE: Final = "start it with --api-keys, --jwt-key or --jwks-url to serve others"


def refuse_strangers(headers: CIMultiDictProxy[str], authority: str | None) -> None:
    """Hold a request against the rules.

    Args:
        authority: host and port of the request target, where it is a whole URL.

    Raises:
        Problem: 403, with what gave the request away and how to go on.
    """
    # A header may come more than once, and what hands requests on may look at another of them.
    hosts = headers.getall("Host", [""])
    if not all(map(_is_loopback_authority, hosts)) or (authority is not None and not _is_loopback_authority(authority)):
        raise _refusal("host", "this Host", "use http://127.0.0.1 or http://localhost")
    if not all(map(_is_loopback_origin, headers.getall("Origin", ()))):
        raise _refusal("origin", "a web page from elsewhere (Origin)", "open the page from this machine")
    for name in headers:
        folded = name.lower()
        if folded in _PROXY_FIELDS or folded.startswith(_PROXY_PREFIX):
            raise _refusal("proxy", f"what comes through a proxy ({name})", "call it directly")


def _refusal(reason: str, what: str, how: str) -> Problem:
    detail = f"this gateway asks for no keys, so it serves this machine only, and not {what}: {how}, or {_CURE}"
    return Problem(403, detail, code=f"loopback_{reason}")


def _is_loopback_authority(text: str) -> bool:
    match = _HOST.fullmatch(text)
    return match is not None and is_loopback(match[1].strip("[]"))


def _is_loopback_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and _is_loopback_authority(parts.netloc)

"""What is at `/`: which service this is and which calls there are, as a page for browsers and as JSON for everybody else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

import msgspec
from aiohttp import web

from presencedb.gateway.app import Call
from presencedb.gateway.problems import HEADERS
from presencedb.gateway.routes import Route
from presencedb.version import __version__

_ABOUT: Final = "presencedb: who is online, over HTTP. Send heartbeats, ask for statuses."
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>presencedb</title>
<style>
:root {{ color-scheme: light dark; font-family: system-ui, sans-serif }}
body {{ margin: 2rem auto; max-width: 56rem; padding: 0 1rem }}
td {{ padding: .3rem 1rem .3rem 0; vertical-align: top }}
</style>
</head>
<body>
<h1>presencedb {version}</h1>
<p>{about}</p>
<table>
{rows}
</table>
</body>
</html>
"""


class Index:
    """The handler of `/`. Both its forms are made once."""

    def __init__(self, routes: Sequence[Route]) -> None:
        rows = "\n".join(
            f"<tr><td><code>{escape(f'{route.method} {route.path}')}</code></td><td>{escape(route.help)}</td></tr>"
            for route in routes
        )
        self._page = _PAGE.format(version=escape(__version__), about=escape(_ABOUT), rows=rows).encode()
        calls = [{"method": route.method, "path": route.path, "help": route.help} for route in routes]
        self._document = msgspec.json.encode({"about": _ABOUT, "version": __version__, "calls": calls})

    async def index(self, call: Call) -> web.Response:
        headers = HEADERS.copy()
        headers["Vary"] = "Accept"
        if "text/html" not in call.request.headers.get("Accept", ""):
            headers["Content-Type"] = "application/json"
            return web.Response(body=self._document, headers=headers)
        headers["Content-Type"] = "text/html; charset=utf-8"
        headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
        headers["Referrer-Policy"] = "no-referrer"
        return web.Response(body=self._page, headers=headers)

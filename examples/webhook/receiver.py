"""A receiver for `relay.py`, to try it with and to copy from: checks the signature, leaves out what came before, and prints.

It does by hand what the libraries of Standard Webhooks do, to show that it is little.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import time
from pathlib import Path
from typing import Final

from aiohttp import web

TOLERANCE_S: Final = 300
"""How old a request may be: one that was recorded somewhere cannot be played again later."""
BODY_BYTES_MAX: Final = 16 * 1024 * 1024
KEY_PREFIX: Final = "whsec_"


class Receiver:
    """Prints each change once."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._last_key = ""
        """Requests come one after the other, so a repeated one is the last one. Who stores changes stores this in the same
        transaction."""

    async def take(self, request: web.Request) -> web.Response:
        """Handle a POST; anything but a status of 2xx has it sent again."""
        body = await request.read()
        if not self._is_signed(request, body):
            raise web.HTTPUnauthorized
        key = request.headers["webhook-id"]
        if key == self._last_key:
            return web.Response(status=204)
        told = await request.json()
        if told["type"] == "presence.reset":
            print("nobody is online but:", flush=True)
        for change in told["data"]:
            status = {True: "online", False: "offline", None: "unknown"}[change["online"]]
            print(change["at"] or "-", change["id"], status, change["reason"], sep="\t", flush=True)
        self._last_key = key
        return web.Response(status=204)

    def _is_signed(self, request: web.Request, body: bytes) -> bool:
        key, timestamp, signatures = (
            request.headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")
        )
        if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > TOLERANCE_S:
            return False
        digest = hmac.digest(self._secret, f"{key}.{timestamp}.".encode() + body, hashlib.sha256)
        due = "v1," + base64.b64encode(digest).decode()
        # There may be several, while the secret is being changed.
        return any(hmac.compare_digest(due.encode(), given.encode()) for given in signatures.split())


def main() -> None:
    """Serve until ^C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secret-file", type=Path, required=True, help="the same as that of the relay")
    parser.add_argument("--port", type=int, default=8000, help="on 127.0.0.1 (%(default)s)")
    options = parser.parse_args()
    secret = base64.b64decode(options.secret_file.read_text().strip().removeprefix(KEY_PREFIX))
    application = web.Application(client_max_size=BODY_BYTES_MAX)
    application.router.add_post("/presence", Receiver(secret).take)
    web.run_app(application, host="127.0.0.1", port=options.port, print=lambda text: print(text, flush=True))


if __name__ == "__main__":
    main()

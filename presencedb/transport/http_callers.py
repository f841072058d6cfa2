"""A word for those who speak HTTP to the port of the protocol: what this port is, and where HTTP is.

Nobody else gets it: no frame of the protocol begins with a letter.
"""

from __future__ import annotations

import re
from typing import Final

OPENING_BYTES_MAX: Final = 16
"""What has to be kept of the first bytes of a connection to recognise them."""
_REQUEST_LINE: Final = re.compile(rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|TRACE|CONNECT|PRI) ")
_TEXT: Final = (
    b"This port speaks MessagePack-RPC, not HTTP."
    b" HTTP is on the port of the gateway, 7412 by default (presencedb serve, presencedb gateway).\n"
)
HTTP_ANSWER: Final = (
    b"HTTP/1.1 400 Bad Request\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: %d\r\n"
    b"Connection: close\r\n"
    b"\r\n"
    b"%s"
) % (len(_TEXT), _TEXT)


def is_http(opening: bytes) -> bool:
    """Whether the first bytes of a connection, as far as they came in one piece, begin a request of HTTP."""
    return _REQUEST_LINE.match(opening) is not None

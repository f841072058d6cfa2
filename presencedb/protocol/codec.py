"""The codec that runs here: what a server reads by the compiled one, or its twin in Python (`presencedb.implementation`)."""

from typing import TYPE_CHECKING, Final

from presencedb.implementation import COMPILED, PYTHON, compiled_module
from presencedb.protocol.codec_python import (
    ClientDecoder,
    encode_error,
    encode_notification,
    encode_presence,
    encode_request,
    encode_result,
    encode_statuses,
)

if TYPE_CHECKING:
    from presencedb.protocol.codec_python import ServerDecoder

    IMPLEMENTATION: Final[str] = PYTHON
else:
    _compiled = compiled_module("presencedb.protocol._codec")
    if _compiled is None:
        from presencedb.protocol.codec_python import ServerDecoder

        IMPLEMENTATION = PYTHON
    else:
        ServerDecoder = _compiled.ServerDecoder
        IMPLEMENTATION = COMPILED

__all__ = [
    "IMPLEMENTATION",
    "ClientDecoder",
    "ServerDecoder",
    "encode_error",
    "encode_notification",
    "encode_presence",
    "encode_request",
    "encode_result",
    "encode_statuses",
]

"""The codec that runs here: what is hot by the compiled one, or its twin in Python (`presencedb.implementation`)."""

from typing import TYPE_CHECKING, Final

from presencedb.implementation import COMPILED, PYTHON, compiled_module
from presencedb.protocol.encoder_python import (
    encode_error,
    encode_gap,
    encode_notification,
    encode_result,
    encode_statuses,
    encode_watched,
)

if TYPE_CHECKING:
    from presencedb.protocol.codec_python import ClientDecoder, ServerDecoder
    from presencedb.protocol.encoder_python import cut_ids, encode_presence, encode_request, encode_times

    IMPLEMENTATION: Final[str] = PYTHON
else:
    _reader = compiled_module("presencedb.protocol._codec")
    _answers = compiled_module("presencedb.protocol._answers")
    _writer = compiled_module("presencedb.protocol._encoder")
    if _reader is None or _answers is None or _writer is None:
        from presencedb.protocol.codec_python import ClientDecoder, ServerDecoder
        from presencedb.protocol.encoder_python import cut_ids, encode_presence, encode_request, encode_times

        IMPLEMENTATION = PYTHON
    else:
        ServerDecoder = _reader.ServerDecoder
        ClientDecoder = _answers.ClientDecoder
        cut_ids = _writer.cut_ids
        encode_presence = _writer.encode_presence
        encode_request = _writer.encode_request
        encode_times = _writer.encode_times
        IMPLEMENTATION = COMPILED

__all__ = [
    "IMPLEMENTATION",
    "ClientDecoder",
    "ServerDecoder",
    "cut_ids",
    "encode_error",
    "encode_gap",
    "encode_notification",
    "encode_presence",
    "encode_request",
    "encode_result",
    "encode_statuses",
    "encode_times",
    "encode_watched",
]

from array import array
from collections.abc import Sequence
from typing import Any

from presencedb.ids import IdBatch

def encode_presence(
    cursor: str, ids: IdBatch, marks: bytes, times_ms: array[int], positions: array[int] | None = None
) -> bytes: ...
def encode_request(msgid: int, method: str, params: Sequence[Any]) -> bytes: ...

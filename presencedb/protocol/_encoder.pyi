from array import array
from collections.abc import Sequence
from typing import Any

from presencedb.ids import IdBatch

def cut_ids(batch: IdBatch, count_max: int, bytes_max: int) -> list[IdBatch]: ...
def encode_presence(
    cursor: str, ids: IdBatch, marks: bytes, times_ms: array[int], positions: array[int] | None = None
) -> bytes: ...
def encode_request(msgid: int, method: str, params: Sequence[Any]) -> bytes: ...

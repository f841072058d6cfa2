"""What an id is: the rules of canonical form, the same on every interface and in both directions.

A user is named by an integer 0..2^64-1 or by text (UTF-8, 1 to 255 bytes, no NUL). Text that is the canonical decimal of
such an integer *is* that integer, so `"42"` and `42` are one user. In Python a canonical id is an `int` or a `str`;
canonical lower-case UUID text stays a `str` there, and only its stored form differs (128 bits, see `hashing`).
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from presencedb.errors import BadRequest
from presencedb.limits import ID_INT_MAX, ID_TEXT_BYTES_MAX, JSON_INT_MAX

Id: TypeAlias = int | str
"""A canonical id."""

_DECIMAL_DIGITS_MAX: Final = len(str(ID_INT_MAX))
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)


def canonical_id(value: object) -> Id:
    """The one form of an id that was given as an `int` or a `str`.

    Raises:
        BadRequest: not an id; the message says why.
    """
    if type(value) is int:
        if 0 <= value <= ID_INT_MAX:
            return value
        raise BadRequest(f"an integer id is between 0 and {ID_INT_MAX}, not {_shown(value)}")
    if type(value) is str:
        return _canonical_text(value)
    raise BadRequest(f"an id is an integer or text, not {_kind_of(value)}")


def canonical_json_id(value: object) -> Id:
    """As `canonical_id`, for a value out of a JSON document, where large numbers cannot be trusted.

    Raises:
        BadRequest: not an id, or a number above 2^53-1.
    """
    if type(value) is int and value > JSON_INT_MAX:
        raise BadRequest(f"a JSON number above {JSON_INT_MAX} may have lost digits; send the id {_shown(value)} as text")
    return canonical_id(value)


def id_text(user_id: Id) -> str:
    """The text form of a canonical id, as it goes out in JSON and on a terminal; `canonical_id` takes it back."""
    return user_id if isinstance(user_id, str) else str(user_id)


def uuid_bits(text: str) -> int | None:
    """The 128 bits of canonical lower-case UUID text, or None where the text is anything else."""
    return int(text.replace("-", ""), 16) if len(text) == 36 and _UUID.fullmatch(text) else None


def uuid_text(bits: int) -> str:
    """The canonical text of 128 bits; the inverse of `uuid_bits`."""
    digits = f"{bits:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _canonical_text(text: str) -> Id:
    # Most text ids start with a letter: they skip the decimal rule after one look.
    if text and "0" <= text[0] <= "9" and len(text) <= _DECIMAL_DIGITS_MAX and text.isascii() and text.isdigit():
        if text[0] != "0" or text == "0":
            number = int(text)
            if number <= ID_INT_MAX:
                return number
        return text
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        raise BadRequest("a text id is valid UTF-8") from None
    if not 1 <= size <= ID_TEXT_BYTES_MAX:
        raise BadRequest(f"a text id has between 1 and {ID_TEXT_BYTES_MAX} bytes, not {size}")
    if "\0" in text:
        raise BadRequest("a text id has no NUL byte")
    return text


def _kind_of(value: object) -> str:
    names = {bool: "a boolean", float: "a float", bytes: "binary data", type(None): "nil", list: "an array", dict: "a map"}
    return names.get(type(value), type(value).__name__)


def _shown(value: int) -> str:
    # An error message repeats what was sent, but not a number of a million digits.
    return str(value) if value.bit_length() <= 128 else f"one of {value.bit_length()} bits"

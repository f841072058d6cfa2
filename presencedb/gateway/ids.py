"""Ids out of a request target: query and path, with percent-encoding exact.

`ids` is split on commas *before* percent-decoding, so `%2C` can be part of an id. In a query `+` stands for a space, as
forms and every URL library write it; in a path it is a plus. What decodes to something that is not UTF-8 is refused, not
repaired.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, TypeVar
from urllib.parse import unquote_to_bytes

from presencedb.errors import BadRequest, TooLarge
from presencedb.ids import Id, canonical_id, canonical_json_id
from presencedb.limits import HTTP_IDS_MAX

T = TypeVar("T")

_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def read_query(query: str, known: Collection[str]) -> dict[str, list[str]]:
    """The parameters of a raw query string, by name, values still encoded and in the order given.

    Raises:
        BadRequest: a parameter that is not among `known`.
    """
    parameters: dict[str, list[str]] = {}
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        if name not in known:
            takes = ", ".join(sorted(known)) or "none"
            raise BadRequest(f"no such query parameter: {ascii(name)[:80]}; this call takes: {takes}")
        parameters.setdefault(name, []).append(value)
    return parameters


def read_ids(raw_lists: Iterable[str]) -> list[Id]:
    """The ids of raw, comma-separated lists; one that is repeated appears once, at its first place.

    Raises:
        BadRequest: one is not an id, or there is none.
        TooLarge: more than `HTTP_IDS_MAX`.
    """
    raw_ids: list[str] = []
    encoded = False
    for raw_list in raw_lists:
        raw_ids += raw_list.split(",")
        encoded = encoded or "%" in raw_list or "+" in raw_list
    return _distinct(raw_ids, _decoded_id if encoded else canonical_id)


def read_json_ids(values: list[int | str]) -> list[Id]:
    """The ids of a JSON array, as `read_ids`."""
    return _distinct(values, canonical_json_id)


def read_path_id(raw: str) -> Id:
    """The id that one raw segment of a path names.

    Raises:
        BadRequest: it is not an id.
    """
    return canonical_id(decode(raw, plus_is_space=False))


def decode(raw: str, *, plus_is_space: bool) -> str:
    """Undo percent-encoding.

    Raises:
        BadRequest: a stray `%`, or bytes that are not UTF-8.
    """
    if plus_is_space and "+" in raw:
        raw = raw.replace("+", " ")
    if "%" not in raw:
        return raw
    data = raw.encode(errors="surrogateescape")
    if _BAD_ESCAPE.search(data):
        raise BadRequest("after a % in a URL come two hexadecimal digits")
    try:
        return unquote_to_bytes(data).decode()
    except UnicodeDecodeError:
        raise BadRequest("what is percent-encoded in a URL is valid UTF-8") from None


def _decoded_id(raw: str) -> Id:
    return canonical_id(decode(raw, plus_is_space=True))


def _distinct(values: Sequence[T], canonical: Callable[[T], Id]) -> list[Id]:
    if not values:
        raise BadRequest("name at least one id")
    if len(values) > HTTP_IDS_MAX:
        raise TooLarge(f"a call over HTTP has at most {HTTP_IDS_MAX} ids, not {len(values)}")
    ids: dict[Id, None] = {}
    for index, value in enumerate(values):
        try:
            ids[canonical(value)] = None
        except BadRequest as error:
            raise BadRequest(f"id {index} of the list: {error.message}") from None
    return list(ids)

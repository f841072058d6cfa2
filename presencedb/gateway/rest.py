"""The calls about presence. A request becomes one call to the node, or two that have to agree."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import web
from msgspec import UNSET, Struct

from presencedb.client.aio import AsyncClient
from presencedb.errors import BadRequest
from presencedb.gateway.app import Call
from presencedb.gateway.bodies import IdsBody, UserBody, UsersBody, read_json
from presencedb.gateway.ids import decode, read_ids, read_json_ids, read_path_id, read_query
from presencedb.gateway.problems import HEADERS
from presencedb.ids import Id, canonical_json_id, id_text
from presencedb.limits import GRACE_MS_MAX
from presencedb.units import duration_text, parse_duration_ms

_USER_BODY: Final = msgspec.json.Decoder(UserBody)
_USERS_BODY: Final = msgspec.json.Decoder(UsersBody)
_IDS_BODY: Final = msgspec.json.Decoder(IdsBody)
_ENCODE: Final = msgspec.json.Encoder().encode

_JSON_HEADERS: Final = HEADERS.copy()
_JSON_HEADERS["Content-Type"] = "application/json"


class UserStatus(Struct, frozen=True, gc=False):
    """What is told of one user. `online` None: unknown. `last_seen`: RFC 3339 in UTC, or None where it is not kept."""

    online: bool | None
    last_seen: str | None


class _OneStatus(Struct):
    id: str
    online: bool | None
    last_seen: str | None


class _Statuses(Struct):
    statuses: dict[str, UserStatus]


class Rest:
    """The handlers of the calls about presence, in front of one node."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def heartbeat(self, call: Call) -> web.Response:
        read_query(call.query, ())
        await self._client.heartbeat(await _written_user(call))
        return _no_content()

    async def heartbeats(self, call: Call) -> web.Response:
        read_query(call.query, ())
        body = await read_json(call.request, _USERS_BODY)
        if body is None:
            raise BadRequest('say whose heartbeats these are: {"user_ids": ["u1", "u2"]}')
        await self._client.heartbeat(*read_json_ids(body.user_ids))
        return _no_content()

    async def sign_off(self, call: Call) -> web.Response:
        grace_ms = _read_grace_ms(read_query(call.query, ("grace",)).get("grace", []))
        await self._client.offline(await _written_user(call), grace_ms=grace_ms)
        return _no_content()

    async def statuses(self, call: Call) -> web.Response:
        raw_lists = read_query(call.query, ("ids",)).get("ids")
        if raw_lists is None:
            raise BadRequest("say whom you ask for: ?ids=u1,u2,u3")
        return await self._tell(read_ids(raw_lists))

    async def statuses_of_body(self, call: Call) -> web.Response:
        read_query(call.query, ())
        body = await read_json(call.request, _IDS_BODY)
        if body is None:
            raise BadRequest('say whom you ask for: {"ids": ["u1", "u2"]}')
        return await self._tell(read_json_ids(body.ids))

    async def status(self, call: Call) -> web.Response:
        read_query(call.query, ())
        user_id = read_path_id(call.segment)
        ((text, status),) = (await self._look_up([user_id])).items()
        return _json(_OneStatus(text, status.online, status.last_seen))

    async def _tell(self, ids: list[Id]) -> web.Response:
        return _json(_Statuses(await self._look_up(ids)))

    async def _look_up(self, ids: list[Id]) -> dict[str, UserStatus]:
        """Status and last_seen of each, by the text of the id. Nobody is told to be online and never seen.

        The two questions go out together, but a sign-off, a timeout or a first heartbeat can come between their answers.
        Whoever comes out contradictory is asked for again, alone; if that does not help, their status is not known.
        """
        statuses: dict[str, UserStatus] = {}
        contradictory = await self._ask(ids, statuses)
        if contradictory:
            for user_id in await self._ask(contradictory, statuses):
                statuses[id_text(user_id)] = UserStatus(None, None)
        return statuses

    async def _ask(self, ids: list[Id], statuses: dict[str, UserStatus]) -> list[Id]:
        """Ask, write down the answers, and return those whose answers contradict each other."""
        online_by_id, seen_by_id = await asyncio.gather(self._client.status(ids), self._client.last_seen(ids))
        contradictory = []
        for user_id in ids:
            online, seen = online_by_id[user_id], seen_by_id[user_id]
            if seen is None:
                if online:
                    contradictory.append(user_id)
                statuses[id_text(user_id)] = UserStatus(online, None)
            else:
                # The client's times are in UTC: their offset, always "+00:00", is written as Z.
                statuses[id_text(user_id)] = UserStatus(online, f"{seen.isoformat(timespec='milliseconds')[:-6]}Z")
        return contradictory


async def _written_user(call: Call) -> Id:
    """Whom a heartbeat or sign-off is for: the user of the token, or whom a service names in the body."""
    body = await read_json(call.request, _USER_BODY)
    named = UNSET if body is None else body.user_id
    if call.caller.user_id is not None:
        if named is not UNSET:
            raise BadRequest("a user token writes the user it names; leave user_id out of the body")
        return call.caller.user_id
    if named is UNSET:
        raise BadRequest('say whom this is for: {"user_id": "u1"}')
    return canonical_json_id(named)


def _read_grace_ms(raw_values: list[str]) -> int:
    if not raw_values:
        return 0
    if len(raw_values) > 1:
        raise BadRequest("grace is given more than once")
    try:
        grace_ms = parse_duration_ms(decode(raw_values[0], plus_is_space=True))
    except ValueError:
        raise BadRequest("grace is a number of seconds, such as 12 or 1.5") from None
    if grace_ms > GRACE_MS_MAX:
        raise BadRequest(f"grace is at most {duration_text(GRACE_MS_MAX)}, not {duration_text(grace_ms)}")
    return grace_ms


def _no_content() -> web.Response:
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=HEADERS.copy())


def _json(value: object) -> web.Response:
    return web.Response(body=_ENCODE(value), headers=_JSON_HEADERS.copy())

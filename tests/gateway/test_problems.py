"""What goes wrong has one of the codes that are told of, whatever it is."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from presencedb import AsyncClient
from presencedb.errors import ClientClosed, Error, UnknownMethod
from presencedb.gateway.gateway import Gateway
from presencedb.gateway.problems import PROBLEMS, Problem, problem_of
from tests.client.fake_server import FakeServer, Script
from tests.gateway.issuing import token
from tests.gateway.serving import WITHOUT_KEYS, serving


def _all_errors(cls: type[Error] = Error) -> Iterator[type[Error]]:
    yield cls
    for child in cls.__subclasses__():
        yield from _all_errors(child)


@pytest.mark.parametrize("cls", sorted(set(_all_errors()), key=str))
def test_every_error_is_a_problem_of_the_table(cls: type[Error]) -> None:
    problem = problem_of(cls("in words"))
    assert problem.code in PROBLEMS[problem.status]


def test_a_code_that_is_not_told_of_cannot_be_given() -> None:
    with pytest.raises(ValueError, match="forbidden"):
        Problem(403, "no", code="forbidden")
    with pytest.raises(ValueError, match="410"):
        Problem(410, "gone")
    assert Problem(403, "no").code == "denied"


def test_a_code_of_its_own_for_each_meaning() -> None:
    assert PROBLEMS[HTTPStatus.FORBIDDEN][0] == "denied"
    assert PROBLEMS[HTTPStatus.BAD_GATEWAY][0] == "bad_gateway"


async def test_a_user_token_in_a_call_for_services_is_denied() -> None:
    async with serving() as served:
        answer = await served.call("POST", "/heartbeats", token=token(), body={"user_ids": ["u2"]})
        assert answer.problem(403)["code"] == "denied"


def _unknown(_peer: object, _request: object) -> Any:
    raise UnknownMethod("no such method")


@pytest.mark.parametrize(
    "script",
    [pytest.param(lambda _peer, _request: "nonsense", id="nonsense"), pytest.param(_unknown, id="an older node")],
)
async def test_a_node_that_answers_nonsense_is_a_bad_gateway(script: Script) -> None:
    async with FakeServer() as server, AsyncClient(server.url) as client, aiohttp.ClientSession() as session:
        server.script["status"] = script
        gateway = Gateway(WITHOUT_KEYS, client)
        await gateway.start()
        try:
            host, port = gateway.http_address
            with capture_logs() as logs:
                async with session.get(f"http://{host}:{port}/status/u1") as response:
                    problem = await response.json(content_type="application/problem+json")
        finally:
            await gateway.stop()
    assert (problem["status"], problem["code"]) == (502, "bad_gateway")
    assert "nonsense" not in problem["detail"]
    assert [entry["log_level"] for entry in logs] == ["warning"], "whoever runs it learns what the answer was"


def test_a_client_that_is_closed_belongs_to_a_gateway_that_ends() -> None:
    problem = problem_of(ClientClosed("the client is closed"))
    assert (problem.status, problem.code) == (503, "unavailable")

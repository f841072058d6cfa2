"""What watches over a gateway asks: does it live, can it serve, what has it counted; and what becomes of calls meanwhile."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from presencedb.client.aio import AsyncClient
from presencedb.clock import ManualClock
from presencedb.credentials import Credentials, Principal, Right
from presencedb.errors import ListenError
from presencedb.gateway.gateway import Gateway
from presencedb.gateway.metrics import metrics_page
from presencedb.gateway.settings import GatewaySettings
from presencedb.node.node import Node
from presencedb.protocol.info import METRICS
from tests.gateway.issuing import token
from tests.gateway.serving import ADMIN_KEY, NODE, READER_KEY, SERVICE_KEY, WITH_KEYS, WITHOUT_KEYS, Answer, Served, serving
from tests.support.waiting import wait_until_async


def _samples(answer: Answer) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


async def test_probes_are_open_to_everybody() -> None:
    async with serving() as served:
        for path in ("/healthz", "/readyz", "/healthz?from=somewhere"):
            answer = await served.call("GET", path)
            assert (answer.status, answer.json) == (200, {"status": "ok"})
            assert (await served.call("GET", path, token="bad")).status == 200


async def test_metrics_need_the_right_admin() -> None:
    async with serving() as served:
        (await served.call("GET", "/metrics")).problem(401)
        (await served.call("GET", "/metrics", key=SERVICE_KEY)).problem(403)
        (await served.call("GET", "/metrics", token=token())).problem(403)
        assert (await served.call("GET", "/metrics", key=ADMIN_KEY)).status == 200


async def test_metrics_tell_of_gateway_and_node() -> None:
    async with serving() as served:
        for user in ("u1", "u2", "u3"):
            await served.call("POST", "/heartbeat", token=token(user))
        await served.call("GET", "/status/u1", key=READER_KEY)
        await served.call("GET", "/status/u2", key=READER_KEY)
        await served.call("GET", "/status/u2", key="not a key")
        await served.call("GET", "/status/u2", token=token(expires_in_s=-3600))
        await served.call("PUT", "/nothing/here")
        await served.raw(b"nonsense\r\n\r\n")
        samples = _samples(await served.call("GET", "/metrics", key=ADMIN_KEY))

        def requests(route: str, method: str, status: int) -> float:
            labels = (("method", method), ("route", route), ("status", str(status)))
            return samples["presencedb_http_requests_total", labels]

        assert requests("/heartbeat", "POST", 204) == 3
        assert requests("/status/{user_id}", "GET", 200) == 2
        assert requests("/status/{user_id}", "GET", 401) == 2
        assert requests("other", "PUT", 404) == 1
        assert requests("unreadable", "unreadable", 400) == 1
        assert samples["presencedb_http_auth_failures_total", (("reason", "api_key"),)] == 1
        assert samples["presencedb_http_auth_failures_total", (("reason", "expired"),)] == 1
        duration = "presencedb_http_request_duration_seconds"
        assert samples[f"{duration}_count", (("route", "/heartbeat"),)] == 3
        assert samples[f"{duration}_bucket", (("le", "+Inf"), ("route", "/heartbeat"))] == 3
        assert 0 < samples[f"{duration}_sum", (("route", "/heartbeat"),)] < 60
        assert samples["presencedb_node_up", ()] == 1
        assert samples["presencedb_online", ()] == 3
        assert samples["presencedb_heartbeats_total", ()] == 3
        assert samples["presencedb_tick_age_seconds", ()] < 60
        assert samples["presencedb_requests_total", (("command", "status"),)] == 2
        assert samples["process_resident_memory_bytes", ()] > 0


async def test_every_number_of_the_node_is_on_the_page() -> None:
    async with serving(WITHOUT_KEYS) as served:
        page = (await served.call("GET", "/metrics")).body.decode()
        info = await served.db.info()
        for entry, metric in METRICS.items():
            assert entry in info
            assert f"# HELP {metric.name}" in page


async def test_labels_of_routes_do_not_grow_with_what_is_asked_for() -> None:
    async with serving(WITHOUT_KEYS) as served:
        for number in range(50):
            await served.call("GET", f"/status/u{number}")
            await served.call("GET", f"/nothing-{number}")
        page = (await served.call("GET", "/metrics")).body.decode()
        assert len([line for line in page.splitlines() if line.startswith("presencedb_http_requests_total")]) == 2


def test_two_gateways_count_apart() -> None:
    assert metrics_page([]) != b""
    assert b"presencedb" not in metrics_page([])


async def test_listener_for_scrapers_asks_for_no_key_and_serves_nothing_else() -> None:
    settings = replace(WITH_KEYS, metrics_listen=("127.0.0.1", 0))
    async with serving(settings) as served:
        assert served.gateway.metrics_address is not None
        url = "http://{}:{}".format(*served.gateway.metrics_address)
        for path, status in (("/metrics", 200), ("/healthz", 200), ("/readyz", 200), ("/status/u1", 404), ("/", 404)):
            async with served.session.get(url + path) as response:
                assert response.status == status
        async with served.session.get(f"{url}/metrics", headers={"Host": "evil.example.com"}) as response:
            assert response.status == 403
        async with served.session.post(f"{url}/heartbeat", json={"user_id": "u1"}) as response:
            assert response.status == 404
        (await served.call("GET", "/metrics")).problem(401)


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
@pytest.mark.parametrize("settings", [WITH_KEYS, WITHOUT_KEYS], ids=["with keys", "without keys"])
async def test_listener_for_scrapers_that_everybody_reaches_is_warned_about(
    settings: GatewaySettings, host: str, warned: bool
) -> None:
    with capture_logs() as logs:
        async with serving(replace(settings, metrics_listen=(host, 0))) as served:
            assert served.gateway.metrics_address is not None
            port = served.gateway.metrics_address[1]
            async with served.session.get(f"http://127.0.0.1:{port}/metrics", headers={"Host": "node-1:9100"}) as response:
                assert response.status == (200 if warned else 403)
    warnings = [entry for entry in logs if entry["log_level"] == "warning" and "metrics" in entry["event"]]
    assert [entry["address"] for entry in warnings] == ([f"{host}:{port}"] if warned else [])


async def test_node_that_is_gone_is_told_within_the_timeout() -> None:
    async with serving(client_options={"timeout_s": 0.5}) as served:
        await served.node.stop()
        for method, path, body in (
            ("POST", "/heartbeat", {"user_id": "u1"}),
            ("DELETE", "/heartbeat", {"user_id": "u1"}),
            ("GET", "/status/u1", None),
            ("POST", "/status/users", {"ids": ["u1", "u2"]}),
        ):
            answer = await served.call(method, path, key=SERVICE_KEY, body=body)
            assert answer.problem(503)["code"] == "unavailable"
            assert answer.headers["Retry-After"] == "1"
        answer = await served.call("GET", "/readyz")
        assert answer.problem(503)["code"] == "not_ready"
        assert (await served.call("GET", "/healthz")).status == 200
        samples = _samples(await served.call("GET", "/metrics", key=ADMIN_KEY))
        assert samples["presencedb_node_up", ()] == 0


def _client_of_port(port: int, **options: Any) -> AsyncClient:
    return AsyncClient(f"presence://127.0.0.1:{port}", timeout_s=0.5, **options)


async def _get(session: aiohttp.ClientSession, gateway: Gateway, path: str) -> tuple[int, Any]:
    async with session.get("http://{}:{}{}".format(*gateway.http_address, path)) as response:
        return response.status, await response.json(content_type=None)


async def test_gateway_starts_without_its_node_and_finds_it_later() -> None:
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))
        port = placeholder.getsockname()[1]
        client = _client_of_port(port)
        gateway = Gateway(WITHOUT_KEYS, client)
        await gateway.start()
        session = aiohttp.ClientSession()
        try:
            status, problem = await _get(session, gateway, "/status/u1")
            assert (status, problem["code"]) == (503, "unavailable")
            assert str(port) not in problem["detail"], "where the node is, is nobody's business"
            placeholder.close()
            node = Node(replace(NODE, listen=("127.0.0.1", port)))
            await node.start()

            async def found() -> bool:
                return (await _get(session, gateway, "/status/u1"))[0] == 200

            await wait_until_async(found, what="the gateway reaches its node")
            assert (await _get(session, gateway, "/readyz"))[0] == 200
        finally:
            await session.close()
            await gateway.stop()
            await client.close()
        await node.stop()


async def test_gateway_whose_token_may_not_look_inside_is_ready_all_the_same() -> None:
    rights = frozenset({Right.READ, Right.WRITE})
    credentials = Credentials([("the token of a gateway", Principal("gateway", rights))])
    node = Node(replace(NODE, listen=("127.0.0.1", 0), credentials=credentials))
    await node.start()
    assert node.tcp_address is not None
    session = aiohttp.ClientSession()
    for shown, ready in (("the token of a gateway", 200), ("a token that is not known", 503)):
        client = _client_of_port(node.tcp_address[1], token=shown)
        gateway = Gateway(WITHOUT_KEYS, client)
        await gateway.start()
        assert (await _get(session, gateway, "/readyz"))[0] == ready
        status, body = await _get(session, gateway, "/status/u1")
        assert status == (200 if ready == 200 else 502)
        if ready != 200:
            assert body["detail"] == "the node refused this gateway's own token"
        await gateway.stop()
        await client.close()
    await session.close()
    await node.stop()


async def test_node_that_warms_up_is_not_ready() -> None:
    async with serving(node_settings=replace(NODE, ttl_ms=500, tick_ms=50, warm_up=True)) as served:
        assert "warming up" in (await served.call("GET", "/readyz")).problem(503)["detail"]
        await wait_until_async(lambda: _ready(served), what="the node is warm")


async def _ready(served: Served) -> bool:
    return (await served.call("GET", "/readyz")).status == 200


async def test_node_whose_clock_stands_still_is_not_ready() -> None:
    async with serving(clock=ManualClock()) as served:

        async def told() -> bool:
            answer = await served.call("GET", "/readyz")
            return answer.status == 503 and "last tick" in answer.json["detail"]

        await wait_until_async(told, what="the old tick is told of")


async def test_node_that_does_not_answer_is_not_ready() -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    client = AsyncClient(f"presence://127.0.0.1:{silent.getsockname()[1]}", timeout_s=30, connect_timeout_s=30)
    gateway = Gateway(replace(WITHOUT_KEYS, probe_timeout_s=0.2), client)
    await gateway.start()
    async with aiohttp.ClientSession() as session:
        status, problem = await _get(session, gateway, "/readyz")
        assert (status, problem["detail"]) == (503, "the node did not answer in time")
        assert (await _get(session, gateway, "/healthz"))[0] == 200
    await gateway.stop()
    await client.close()
    silent.close()


async def test_port_that_is_taken_is_named() -> None:
    async with serving(WITHOUT_KEYS) as served:
        settings = replace(WITHOUT_KEYS, listen=served.gateway.http_address)
        with pytest.raises(ListenError, match=r"cannot listen on 127\.0\.0\.1:\d+: Address already in use"):
            await Gateway(settings, served.db).start()
        settings = replace(WITHOUT_KEYS, metrics_listen=served.gateway.http_address)
        second = Gateway(settings, served.db)
        with pytest.raises(ListenError):
            await second.start()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*second.http_address)
        with pytest.raises(ListenError, match="cannot listen on no such host"):
            await Gateway(replace(WITH_KEYS, listen=("no such host", 0)), served.db).start()


async def test_gateway_that_is_not_started_has_no_address() -> None:
    async with serving() as served:
        gateway = Gateway(WITH_KEYS, served.db)
        with pytest.raises(RuntimeError):
            _ = gateway.http_address
        await gateway.stop()

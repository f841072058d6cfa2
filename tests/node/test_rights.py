"""Who may do what: tokens, rights, and tokens that change while the node runs."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from presencedb.credentials import Credentials, Principal, Right
from presencedb.errors import Denied, Unauthenticated, Unavailable
from presencedb.protocol.commands import COMMANDS
from tests.node.running import address_of, running_node
from tests.support.waiting import wait_until_async
from tests.support.wire import Wire

PARAMS: dict[str, list[Any]] = {
    "heartbeat": [["alice"]],
    "offline": [["alice"]],
    "status": [["alice"]],
    "last_seen": [["alice"]],
    "online": [None, 10],
    "watch": [["alice"]],
    "unwatch": [["alice"]],
    "ages": [["alice"]],
    "pages_out": [None, 10],
    "missed": ["n2"],
}
TOKENS = {right: f"token-that-may-{right}" for right in Right}
CREDENTIALS = Credentials((token, Principal(right, frozenset({right}))) for right, token in TOKENS.items())


async def test_without_a_token_only_hello_and_ping() -> None:
    async with running_node(credentials=CREDENTIALS) as node, Wire(address_of(node)) as client:
        for name, command in COMMANDS.items():
            if name in ("hello", "ping"):
                assert command.right is None
                await client.call(name)
            else:
                with pytest.raises(Unauthenticated, match=f"{name} needs a token"):
                    await client.call(name, *PARAMS.get(name, []))


@pytest.mark.parametrize("right", Right)
async def test_a_token_allows_its_right_and_no_other(right: Right) -> None:
    async with running_node(credentials=CREDENTIALS) as node, Wire(address_of(node)) as client:
        await client.call("hello", {"token": TOKENS[right]})
        for name, command in COMMANDS.items():
            if command.right in (None, right):
                with pytest.raises(Unavailable) if command.right is Right.CLUSTER else nullcontext():
                    await client.call(name, *PARAMS.get(name, []))
            else:
                with pytest.raises(Denied, match=f"{name} needs the right {command.right}"):
                    await client.call(name, *PARAMS.get(name, []))


@pytest.mark.parametrize("method", ["heartbeat", "offline"])
async def test_a_forwarded_write_needs_the_right_cluster_too(method: str) -> None:
    both = Credentials(
        [("member", Principal("member", frozenset({Right.WRITE, Right.CLUSTER})))]
        + [(token, Principal(right, frozenset({right}))) for right, token in TOKENS.items()]
    )
    async with running_node(credentials=both) as node, Wire(address_of(node)) as client:
        for token, error in ((TOKENS[Right.WRITE], "cluster"), (TOKENS[Right.CLUSTER], "write")):
            await client.call("hello", {"token": token})
            with pytest.raises(Denied, match=f"needs the right {error}, which"):
                await client.call(method, ["alice"], {"forwarded": True})
        await client.call("hello", {"token": "member"})
        assert await client.call(method, ["alice"], {"forwarded": True}) == (1 if method == "heartbeat" else 0)


async def test_a_notification_without_the_right_does_nothing_and_is_counted() -> None:
    async with (
        running_node(credentials=CREDENTIALS) as node,
        Wire(address_of(node)) as client,
        Wire(address_of(node)) as admin,
    ):
        client.notify("heartbeat", ["alice"])
        await client.call("hello", {"token": TOKENS[Right.READ]})
        client.notify("heartbeat", ["alice"])
        assert await client.call("count") == 0
        await admin.call("hello", {"token": TOKENS[Right.ADMIN]})
        assert (await admin.call("info"))["bad_notifications"] == 2


@pytest.mark.parametrize("token", ["", "wrong", "token-that-may-read ", "é"])
async def test_a_bad_token_leaves_the_connection_as_it_was(token: str) -> None:
    async with running_node(credentials=CREDENTIALS) as node, Wire(address_of(node)) as client:
        with pytest.raises(Unauthenticated):
            await client.call("hello", {"token": token})
        with pytest.raises(Unauthenticated):
            await client.call("count")
        await client.call("hello", {"token": TOKENS[Right.READ]})
        with pytest.raises(Unauthenticated):
            await client.call("hello", {"token": token})
        assert await client.call("count") == 0


async def test_another_token_gives_other_rights() -> None:
    async with running_node(credentials=CREDENTIALS) as node, Wire(address_of(node)) as client:
        await client.call("hello", {"token": TOKENS[Right.READ]})
        await client.call("hello", {"token": TOKENS[Right.WRITE]})
        await client.call("heartbeat", ["alice"])
        with pytest.raises(Denied):
            await client.call("count")


async def test_without_credentials_everybody_may_everything_whatever_the_token() -> None:
    async with running_node() as node, Wire(address_of(node)) as client:
        await client.call("hello", {"token": "whatever it is"})
        await client.call("info")


class TestReload:
    async def test_who_may_as_much_as_before_goes_on(self) -> None:
        async with running_node(credentials=CREDENTIALS) as node, Wire(address_of(node)) as client:
            await client.call("hello", {"token": TOKENS[Right.READ]})
            more = Principal("more", frozenset({Right.READ, Right.WRITE}))
            node.set_credentials(Credentials([(TOKENS[Right.READ], more)]))
            assert await client.call("heartbeat", ["alice"]) == 1
            assert await client.call("count") == 1

    async def test_a_revoked_token_ends_its_connections(self) -> None:
        async with (
            running_node(credentials=CREDENTIALS) as node,
            Wire(address_of(node)) as client,
            Wire(address_of(node)) as stranger,
        ):
            await client.call("hello", {"token": TOKENS[Right.READ]})
            await client.call("follow")
            await stranger.call("ping")
            node.set_credentials(Credentials([("another token", Principal("other", frozenset({Right.READ})))]))
            assert await client.read_to_end() == []
            assert await stranger.call("ping") == "pong"
            with pytest.raises(Unauthenticated):
                await stranger.call("hello", {"token": TOKENS[Right.READ]})

    async def test_tokens_may_begin_and_end_to_be_needed(self) -> None:
        async with running_node() as node:
            async with Wire(address_of(node)) as client:
                await client.call("count")
                node.set_credentials(CREDENTIALS)
                assert await client.read_to_end() == []
            async with Wire(address_of(node)) as client:
                with pytest.raises(Unauthenticated):
                    await client.call("count")
                node.set_credentials(None)
                assert await client.call("count") == 0
            async with Wire(address_of(node)) as client:
                assert await client.call("count") == 0


async def test_tokens_show_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    token = TOKENS[Right.ADMIN]
    async with running_node(credentials=CREDENTIALS) as node, Wire(address_of(node)) as client:
        await client.call("hello", {"token": token})
        with pytest.raises(Unauthenticated) as refusal:
            await client.call("hello", {"token": "some-other-token"})
        info = await client.call("info")
        client.send_bytes(b"\xc1")
        await wait_until_async(lambda: node.ready)
        await client.read_to_end()
    shown = repr(info) + str(refusal.value) + "".join(capfd.readouterr())
    assert token not in shown
    assert "some-other-token" not in shown

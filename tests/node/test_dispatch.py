"""The dispatcher: every command has its file, and an error of the node itself stays its own affair."""

from __future__ import annotations

import pytest

from presencedb.errors import Unavailable
from presencedb.node import dispatch
from presencedb.node.context import NodeContext
from presencedb.protocol.commands import COMMANDS
from presencedb.protocol.messages import Request
from presencedb.transport.connection import Connection
from tests.node.running import address_of, running_node
from tests.support.wire import Wire


def test_every_command_has_a_handler() -> None:
    assert set(dispatch.HANDLERS) == set(COMMANDS)


def test_a_command_without_a_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "COMMANDS", {**COMMANDS, "dance": COMMANDS["ping"]})
    with pytest.raises(TypeError, match=r"differ in .*dance"):
        dispatch.load_handlers()


def test_a_file_without_a_command_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "COMMANDS", {name: COMMANDS[name] for name in COMMANDS if name != "ping"})
    with pytest.raises(TypeError, match=r"differ in .*ping"):
        dispatch.load_handlers()


async def test_an_unexpected_error_is_logged_and_told_without_details(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def break_down(context: NodeContext, connection: Connection, request: Request) -> None:
        raise ZeroDivisionError("the inside of the node")

    monkeypatch.setitem(dispatch.HANDLERS, "count", break_down)
    async with running_node() as node, Wire(address_of(node)) as client:
        with pytest.raises(Unavailable) as refusal:
            await client.call("count")
        assert "inside" not in str(refusal.value)
        assert await client.call("ping") == "pong"
        assert (await client.call("info"))["failures"] == 1
    logged = "".join(capfd.readouterr())
    assert "ZeroDivisionError" in logged
    assert "the inside of the node" in logged

"""A token is shown nowhere: in no error, no representation, no reply."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from presencedb.credentials import Credentials, Principal, Right, parse_secrets
from presencedb.errors import ConfigError, Error
from presencedb.protocol.codec_python import ServerDecoder
from presencedb.protocol.messages import Malformed, Request
from presencedb.protocol.session import ClientSession, ServerSession
from tests.conformance import wire
from tests.conformance.wire import Pairs, Raw

SECRET = "s3cr3t-t0ken-of-n0body"


def shown(thing: object) -> str:
    """Everything by which a value can get into a log."""
    text = f"{thing} {thing!r}"
    if isinstance(thing, BaseException):
        text += "".join(traceback.format_exception(thing))
    return text


@pytest.mark.parametrize(
    "params",
    [
        [{"token": SECRET}],
        [{"token": SECRET, "client": "app", "version": "1"}],
        [{"token": SECRET, "unknown": 1}],
        [{"token": SECRET, "client": 7}],
        [{"token": [SECRET]}],
        [{"token": SECRET.encode()}],
        [{"token": {SECRET: SECRET}}],
        [{"token": SECRET * 1000}],
        [{SECRET: "token"}],
        [Pairs((("token", SECRET), ("token", SECRET)))],
        [Pairs((("token", Raw(wire.text(SECRET.encode() + b"\xff"))),))],
        [SECRET],
        [{"token": SECRET}, {"token": SECRET}],
        [{"token": SECRET}, None],
    ],
    ids=lambda params: repr(params)[:60],
)
def test_a_token_is_shown_in_no_request_and_no_refusal(params: list[Any]) -> None:
    decoder = ServerDecoder()
    decoder.feed(wire.request(1, "hello", *params))
    message = decoder.next_message()
    assert isinstance(message, Request | Malformed)
    assert SECRET not in shown(message)
    assert SECRET not in shown(message.options if isinstance(message, Request) else message.error)
    session = ServerSession()
    session.receive_data(wire.request(1, "hello", *params) + wire.value([0, 2, SECRET]) + b"\xc1")
    request = session.next_request()
    assert SECRET not in shown(request)
    assert SECRET not in shown(session)
    if request is None:
        assert SECRET.encode() not in session.data_to_send()


def test_a_token_reaches_whoever_is_to_check_it() -> None:
    session = ServerSession()
    session.receive_data(wire.request(1, "hello", {"token": SECRET}))
    request = session.next_request()
    assert request is not None
    assert request.options.token == SECRET


def test_a_client_session_shows_no_token_and_keeps_none() -> None:
    session = ClientSession()
    session.request("hello", ({"token": SECRET},))
    assert SECRET not in shown(session)
    assert SECRET.encode() in session.data_to_send()
    assert SECRET not in str(vars(session))


@pytest.mark.parametrize(
    "line",
    ["app:horse:{}", "app:horse-battery:{}", "app:horse-battery:read,{}", "app:{}:nothing", "{}:short", "app:{0}\nops:{0}"],
)
def test_an_error_in_a_file_of_tokens_repeats_nothing_of_it(line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_secrets(line.format(SECRET), "tokens")
    assert SECRET not in shown(caught.value)
    assert caught.value.message.startswith(f"tokens, line {1 + line.count(chr(10))}: ")


def test_credentials_show_no_secret() -> None:
    credentials = Credentials([(SECRET, Principal("app", frozenset({Right.READ})))])
    assert SECRET not in shown(credentials)
    assert SECRET not in str(vars(credentials))
    found = credentials.find(SECRET)
    assert found is not None
    assert SECRET not in shown(found)


def test_an_error_from_the_wire_is_shown_as_the_server_said_it() -> None:
    session = ClientSession()
    session.receive_data(wire.error(1, "unauthenticated", "the token is not known"))
    message = session.next_message()
    assert message is not None
    assert isinstance(getattr(message, "error", None), Error)
    assert "the token is not known" in shown(message)

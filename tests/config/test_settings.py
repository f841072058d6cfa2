"""Where the values of options come from, and what is said when one is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presencedb import config
from presencedb.config import OPTIONS, Option
from presencedb.errors import ConfigError
from presencedb.settings import SHOWN_CHARS_MAX, read_settings, warnings_of
from presencedb.units import Address

SAMPLES: dict[str, tuple[str, str, str]] = {
    "listen": ("127.0.0.1:1", "10.0.0.1:2", "off"),
    "unix": ("/run/a.sock", "b.sock", "/c"),
    "http": ("127.0.0.1:1", "127.0.0.1:2", "[::1]:3"),
    "metrics-listen": ("127.0.0.1:1", "127.0.0.1:2", "[::1]:3"),
    "ttl": ("1", "2.5", "5m"),
    "tick": ("50", "200", "1s"),
    "retention": ("forever", "30d", "12h"),
    "node-id": ("a", "b-2", "c.d"),
    "membership": ("static:a", "static:b.toml", "static:/c"),
    "nodes": ("1", "3", "a=1,b=[::1]:2*50"),
    "replicas": ("1", "2", "8"),
    "url": ("presence://a", "presence://b", "presence://c"),
    "timeout": ("1", "2.5", "1h"),
    "jwks-url": ("https://a/b", "https://c/d", "http://127.0.0.1/e"),
    "drain-timeout": ("0", "1", "10m"),
    "log-format": ("text", "json", "text"),
    "log-level": ("debug", "error", "warning"),
}
"""Three values that an option takes, as text."""
SHARED = [option for option in OPTIONS.values() if not option.flag_only and option is not config.CONFIG]


def samples(option: Option[object]) -> tuple[str, str, str]:
    if not option.metavar:
        return ("true", "false", "true")
    return SAMPLES.get(option.name, ("a", "b", "c"))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config") / "presencedb.toml"


@given(
    option=st.sampled_from(SHARED),
    on_command_line=st.none() | st.integers(0, 2),
    in_environment=st.none() | st.integers(0, 2),
    in_file=st.none() | st.integers(0, 2),
)
def test_command_line_wins_over_environment_over_file_over_default(
    file: Path,
    option: Option[object],
    on_command_line: int | None,
    in_environment: int | None,
    in_file: int | None,
) -> None:
    texts = samples(option)
    flags: dict[str, str] = {}
    environment = {"PRESENCEDB_CONFIG": str(file), "HOME": "/"}
    document = ""
    if on_command_line is not None:
        flags[option.name] = texts[on_command_line]
    if in_environment is not None:
        environment[option.variable] = texts[in_environment]
    if in_file is not None:
        text = texts[in_file]
        document = f"{option.name} = {json.dumps(text) if option.metavar else text}\n"
    file.write_text(document)
    choice = next((choice for choice in (on_command_line, in_environment, in_file) if choice is not None), None)

    settings = read_settings(min(option.commands), flags, environment)

    assert settings[option] == (option.default if choice is None else option.parse(texts[choice]))
    assert settings.given(option) is (choice is not None)


def test_numbers_and_text_mean_the_same_in_a_file(file: Path) -> None:
    file.write_text('ttl = 2.5\ntick = 200\nlisten = 7500\nretention = "30d"\nwarm-up = true\n')
    settings = read_settings("serve", {"config": str(file)}, {})
    assert settings[config.TTL] == 2_500
    assert settings[config.TICK] == 200
    assert settings[config.LISTEN] == Address("127.0.0.1", 7500)
    assert settings[config.RETENTION] == 30 * 86_400_000
    assert settings[config.WARM_UP] is True


def test_an_empty_variable_is_one_that_is_not_set() -> None:
    settings = read_settings("serve", {}, {"PRESENCEDB_TTL": "", "PRESENCEDB_CONFIG": "", "PRESENCEDB_TOKEN": ""})
    assert settings[config.TTL] == 30_000
    assert settings.token is None


def test_a_file_is_shared_by_commands_that_take_different_options(file: Path) -> None:
    file.write_text('ttl = 5\nurl = "presence://there"\n')
    assert read_settings("status", {"config": str(file)}, {})[config.URL] == "presence://there"
    assert read_settings("serve", {"config": str(file)}, {})[config.TTL] == 5_000


@pytest.mark.parametrize(
    ("flags", "environment", "document", "message"),
    [
        ({"ttl": "0"}, {}, "", "--ttl 0: out of range, it takes one tick to a year (0.05 to 31536000 seconds)"),
        ({"ttl": "366d"}, {}, "", "--ttl 366d: out of range, it takes one tick to a year (0.05 to 31536000 seconds)"),
        ({}, {"PRESENCEDB_TTL": "0.06"}, "", "PRESENCEDB_TTL=0.06: out of range, it takes one tick (100ms) to 365d"),
        ({}, {"PRESENCEDB_TICK": "20"}, "", "PRESENCEDB_TICK=20: out of range, it takes 50 to 1000 milliseconds"),
        ({}, {}, "tick = 2000", "FILE, tick = 2000: out of range, it takes 50 to 1000 milliseconds"),
        ({}, {}, "retention = 5", "FILE, retention = 5: out of range, it takes online, forever, or the ttl (30s) to 36500d"),
        ({}, {}, "ttl = [1]", "FILE, ttl = [1]: it takes a number or text"),
        ({}, {}, "ttl = true", "FILE, ttl = true: it takes a value, not a switch"),
        ({}, {}, "ttl = nan", "FILE, ttl = nan: it takes a duration such as"),
        ({}, {}, "insecure = 1", "FILE, insecure = 1: it takes true or false"),
        ({}, {}, "tll = 3", "FILE: unknown key tll; did you mean ttl?"),
        ({}, {}, "token_file = 'x'", "FILE: unknown key token_file; did you mean token-file?"),
        ({}, {}, "config = 'x'", "FILE: unknown key config"),
        ({}, {}, "[node]\nttl = 3", "FILE: unknown key node"),
        ({}, {}, "ttl = ", "--config FILE: not TOML: Invalid value (at end of document)"),
        ({}, {}, f"ttl = {'1' * 5000}", "--config FILE: not TOML: "),
        ({}, {}, f"ttl = {'[' * 5000}", "--config FILE: not TOML: "),
        ({}, {"PRESENCEDB_TLL": "3"}, "", "unknown variable PRESENCEDB_TLL; did you mean PRESENCEDB_TTL?"),
        ({}, {"PRESENCEDB_EVERY": "3"}, "", "PRESENCEDB_EVERY is no variable: --every is for"),
        ({}, {}, "cursor = 'x'", "FILE: cursor is no key: --cursor is for the command line only"),
        ({"log-format": "xml"}, {}, "", "--log-format xml: it takes text or json"),
        ({"listen": "x" * 5000}, {}, "", f"--listen {'x' * SHOWN_CHARS_MAX}...: it takes HOST:PORT"),
        ({"node-id": "a\x1b[31m"}, {}, "", "--node-id a\N{REPLACEMENT CHARACTER}[31m: it takes 1 to 63 letters"),
    ],
)  # fmt: skip
def test_messages_say_where_a_wrong_value_came_from_and_what_is_right(
    file: Path, flags: dict[str, str], environment: dict[str, str], document: str, message: str
) -> None:
    file.write_text(document)
    with pytest.raises(ConfigError) as caught:
        read_settings("serve", flags | {"config": str(file)}, environment)
    assert caught.value.message.startswith(message.replace("FILE", str(file)))


def test_a_file_that_is_not_there_is_named_with_whoever_named_it(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.toml"
    with pytest.raises(ConfigError, match=f"^PRESENCEDB_CONFIG={path}: cannot read it: No such file or directory$"):
        read_settings("status", {}, {"PRESENCEDB_CONFIG": str(path)})


def test_variables_of_kubernetes_and_of_the_tests_are_passed_over() -> None:
    environment = {
        "PRESENCEDB_SERVICE_HOST": "10.0.0.1",
        "PRESENCEDB_SERVICE_PORT": "7411",
        "PRESENCEDB_SERVICE_PORT_HTTP": "7412",
        "PRESENCEDB_PORT": "tcp://10.0.0.1:7411",
        "PRESENCEDB_PORT_7411_TCP": "tcp://10.0.0.1:7411",
        "PRESENCEDB_PORT_7411_TCP_ADDR": "10.0.0.1",
        "PRESENCEDB_GATEWAY_SERVICE_HOST": "10.0.0.2",
        "PRESENCEDB_TEST_LOOP": "uvloop",
        "PRESENCEDB_IMPL": "python",
    }
    read_settings("serve", {}, environment)


def test_what_is_allowed_but_seldom_meant_is_told() -> None:
    assert warnings_of(read_settings("serve", {}, {})) == []
    settings = read_settings("serve", {"ttl": "2", "tick": "1000", "retention": "forever"}, {})
    assert warnings_of(settings) == [
        "--retention forever: last_seen is kept in memory only and is lost with this process",
        "--ttl 2 is less than 3 ticks of 1s: one late heartbeat takes a user offline",
    ]


@given(flags=st.dictionaries(st.sampled_from(sorted(set(OPTIONS) - {"config"})), st.text(max_size=20), max_size=4))
def test_any_text_is_taken_or_refused_with_a_message(flags: dict[str, str]) -> None:
    for command in ("serve", "status"):
        message = refusal(command, flags)
        assert message is None or (message.startswith("--") and "\n" not in message)


def refusal(command: str, flags: dict[str, str]) -> str | None:
    try:
        read_settings(command, flags, {})
    except ConfigError as error:
        return error.message
    return None

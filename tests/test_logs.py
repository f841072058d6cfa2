"""Logs: one event a line, whatever is in it, from structlog and from logging alike."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import logging, sys, structlog
from presencedb.logs import configure_logs, release_logs
configure_logs(sys.argv[1], "info")
log = structlog.get_logger()
log.info("came", peer="127.0.0.1:1", name="a b\\nforged\\x1b[31m", kept=True)
log.debug("too small")
logging.getLogger("aiohttp").warning("of %s", "logging\\n")
try:
    raise OSError("broken")
except OSError:
    log.exception("failed")
print("held", file=sys.stderr, flush=True)
release_logs(getattr(logging, sys.argv[2]))
log.info("after")
"""


def logged(log_format: str, least: str = "NOTSET") -> list[str]:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, log_format, least], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout == ""
    return result.stderr.splitlines()


def test_text_is_a_line_an_event_and_quotes_what_is_strange() -> None:
    held, came, warning, failed, *trace, after = logged("text")
    assert held == "held"
    assert came.split(" ", 1)[1].split() == [
        "info", "came", "peer=127.0.0.1:1", 'name="a', "b\\nforged\\u001b[31m\"", "kept=true",
    ]  # fmt: skip
    assert warning.endswith('Z warning "of logging\\n"')
    assert failed.endswith("Z error   failed")
    assert trace[0] == "Traceback (most recent call last):"
    assert trace[-1] == "OSError: broken"
    assert after.endswith("Z info    after")


def test_json_is_an_object_an_event() -> None:
    _, *lines = logged("json")
    events = [json.loads(line) for line in lines]
    assert [event["event"] for event in events] == ["came", "of logging\n", "failed", "after"]
    assert events[0]["name"] == "a b\nforged\x1b[31m"
    assert events[0]["kept"] is True
    assert "OSError: broken" in events[2]["exception"]
    assert all(event["timestamp"].endswith("Z") for event in events)


def test_what_was_held_back_can_be_thinned_out() -> None:
    assert [json.loads(line)["event"] for line in logged("json", "WARNING")[1:]] == ["of logging\n", "failed", "after"]

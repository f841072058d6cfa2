"""Starting, stopping and reaping processes, tried on a stand-in for `presencedb` that does what the test needs."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.process import ServerProcess, run_command

READY = 'print("ready tcp=127.0.0.1:41237 http=127.0.0.1:41238", flush=True)\n'


@pytest.fixture
def stand_in(tmp_path: Path, request: pytest.FixtureRequest) -> Mapping[str, str]:
    """An environment in which `python -m presencedb` runs the source given by the parameter."""
    package = tmp_path / "presencedb"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("import os, signal, sys, time\n" + dedent(request.param))
    return {"PYTHONPATH": str(tmp_path)}


@pytest.mark.parametrize("stand_in", [READY + "signal.pause()"], indirect=True)
def test_it_is_ready_and_ends_on_sigterm(stand_in: Mapping[str, str]) -> None:
    with ServerProcess("serve", environment=stand_in) as server:
        assert server.tcp == ("127.0.0.1", 41237)
        assert server.http == ("127.0.0.1", 41238)
        assert server.poll() is None
        assert server.terminate() == -signal.SIGTERM
        assert server.poll() == -signal.SIGTERM
    assert "ready" in server.stdout
    assert not server.folder.exists()


@pytest.mark.parametrize("stand_in", ["print('port taken', file=sys.stderr); sys.exit(1)"], indirect=True)
def test_a_failure_to_start_shows_its_stderr(stand_in: Mapping[str, str]) -> None:
    with (
        pytest.raises(AssertionError, match="ended with status 1 before it was ready") as failure,
        ServerProcess("serve", environment=stand_in),
    ):
        pass
    assert "port taken" in "".join(failure.value.__notes__)


@pytest.mark.parametrize("stand_in", ["print('ready half', end='', flush=True); signal.pause()"], indirect=True)
def test_a_process_that_never_is_ready_is_reaped(stand_in: Mapping[str, str]) -> None:
    server = ServerProcess("serve", environment=stand_in, deadline_s=0.5)
    with pytest.raises(AssertionError, match=r"the ready line did not come true within 0\.5 s"), server:
        pass
    assert server.poll() == -signal.SIGKILL


@pytest.mark.parametrize(
    "stand_in", ["signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + READY + "signal.pause()"], indirect=True
)
def test_one_that_ignores_sigterm_is_told_so_and_killed(stand_in: Mapping[str, str]) -> None:
    with (
        pytest.raises(AssertionError, match=r"did not end within 0\.05 s"),
        ServerProcess("serve", environment=stand_in) as server,
    ):
        server.terminate(0.05)
    assert server.poll() == -signal.SIGKILL


@pytest.mark.parametrize("stand_in", [READY + "while True: signal.pause()"], indirect=True)
def test_it_stops_and_continues_and_is_killed(stand_in: Mapping[str, str]) -> None:
    with ServerProcess("serve", environment=stand_in) as server:
        server.sigstop()
        server.sigcont()
        server.sigstop()
        server.sigkill()
        assert server.poll() == -signal.SIGKILL
        with pytest.raises(ProcessLookupError):
            os.kill(server.pid, 0)


@pytest.mark.parametrize(
    "stand_in", ["print(sorted(n for n in os.environ if n.startswith('PRESENCEDB_')), os.listdir('.'))"], indirect=True
)
def test_a_command_runs_in_an_empty_folder_without_options_of_ours(
    stand_in: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESENCEDB_TTL", "5")
    monkeypatch.setenv("PRESENCEDB_IMPL", "python")
    ended = run_command("serve", environment=dict(stand_in) | {"PRESENCEDB_TICK": "100"})
    assert ended.stdout == "['PRESENCEDB_IMPL', 'PRESENCEDB_TICK'] []\n"
    assert ended.returncode == 0


@pytest.mark.parametrize("stand_in", ["print(sys.argv[1:], sys.stdin.read())"], indirect=True)
def test_a_command_gets_arguments_and_input(stand_in: Mapping[str, str]) -> None:
    assert run_command("status", "-", stdin="42", environment=stand_in).stdout == "['status', '-'] 42\n"

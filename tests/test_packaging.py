"""What is installed: one version, the mark of a typed package, the command; and how an environment for it is made."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import presencedb
from tests.support.process import clean_environment, run_command
from tests.support.programs import require_program
from tests.support.sources import ROOT

DISTRIBUTION = importlib.metadata.distribution("presencedb")


def test_the_version_is_one() -> None:
    assert DISTRIBUTION.version == presencedb.__version__
    assert f"## {presencedb.__version__} - " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_types_are_for_everybody() -> None:
    assert importlib.resources.files("presencedb").joinpath("py.typed").is_file()


def test_the_licence_comes_along() -> None:
    assert DISTRIBUTION.metadata["License-Expression"] == "Apache-2.0"


def test_the_command_runs_however_it_is_called() -> None:
    script = Path(sysconfig.get_path("scripts"), "presencedb")
    called = subprocess.run(
        [script, "--version"], capture_output=True, text=True, check=True, env=clean_environment(), timeout=60
    )
    assert presencedb.__version__ in called.stdout
    assert run_command("--version").stdout == called.stdout


def test_it_is_found_before_a_folder_of_its_name(tmp_path: Path) -> None:
    """Where a clone lies in the present folder, say: Python would take it for a package without an `__init__.py`."""
    (tmp_path / "presencedb").mkdir()
    found = subprocess.run(
        [sys.executable, "-c", "import presencedb; print(presencedb.__version__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env=clean_environment(),
        timeout=60,
    )
    assert found.stdout.split() == [presencedb.__version__]


def environment(folder: Path, python: Path | str) -> subprocess.CompletedProcess[str]:
    """Have an environment made with an interpreter, in a run that is expected to stop before anything is installed."""
    return subprocess.run(
        ["bash", ROOT / ".ci/environment", folder],
        capture_output=True,
        text=True,
        check=False,
        env=clean_environment({"PYTHON": str(python)}),
        timeout=60,
    )


@pytest.fixture
def stand_in(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """An interpreter that is like this one, but for what the parameter does with the code in `$2`."""
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\ncase "$2" in {request.param} esac\nexec "{sys.executable}" "$@"\n')
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("stand_in", ["*ensurepip*) exit 1;;"], indirect=True)
def test_a_missing_venv_module_is_named_with_its_cure(tmp_path: Path, stand_in: Path) -> None:
    ended = environment(tmp_path / "environment", stand_in)
    assert ended.returncode == 1
    assert "apt install python3-venv" in ended.stderr
    assert not (tmp_path / "environment").exists()


@pytest.mark.parametrize("stand_in", ["*'<'*) exit 1;; *version_info*) echo 3.10.2; exit 0;;"], indirect=True)
def test_an_old_python_is_named_with_its_cure(tmp_path: Path, stand_in: Path) -> None:
    ended = environment(tmp_path / "environment", stand_in)
    assert ended.returncode == 1
    assert "is Python 3.10.2; presencedb needs 3.11 or newer" in ended.stderr
    assert "PYTHON=python3.12 make test" in ended.stderr


def test_a_python_that_is_not_there_is_named(tmp_path: Path) -> None:
    ended = environment(tmp_path / "environment", "python9")
    assert ended.returncode == 1
    assert "python9 does not run" in ended.stderr


def test_make_alone_teaches() -> None:
    shown = subprocess.run(
        [require_program("make")], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    for target in ("serve", "test", "test-heavy", "lint", "format", "clean"):
        assert f"  make {target} " in shown

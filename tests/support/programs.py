"""Programs that some tests need beside Python. Without one its tests are skipped and named at the end of the run; where
everything must run (`PRESENCEDB_TEST_ALL=1`, as in CI) they fail.
"""

from __future__ import annotations

import glob
import os
import shutil
from typing import Final

import pytest

REASON: Final = "needs the program"
"""How the reason of such a skip begins, so that the summary can find it."""
PACKAGES: Final = {
    "cc": "gcc libc6-dev",
    "curl": "curl",
    "etcd": "etcd-server",
    "git": "git",
    "initdb": "postgresql",
    "make": "make",
    "openssl": "openssl",
    "postgres": "postgresql",
}
"""Where Debian keeps a program."""
FOLDERS_OF_DEBIAN: Final = "/usr/lib/postgresql/*/bin"
"""Servers of which Debian can have several versions are not in the PATH."""


def require_program(name: str) -> str:
    """The path of a program; skips the test when it is not installed, or fails it with `PRESENCEDB_TEST_ALL=1`."""
    path = shutil.which(name) or shutil.which(name, path=os.pathsep.join(sorted(glob.glob(FOLDERS_OF_DEBIAN))))
    if path is not None:
        return path
    reason = f"{REASON} {name}: apt install {PACKAGES.get(name, name)}"
    if os.environ.get("PRESENCEDB_TEST_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)

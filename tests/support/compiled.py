"""Whether the compiled parts in the tree are those of the source beside them: else a test would be of yesterday's."""

from __future__ import annotations

import sysconfig
import tomllib
from pathlib import Path
from typing import Any, Final

from tests.support.sources import ROOT

SUFFIX: Final[str] = sysconfig.get_config_var("EXT_SUFFIX")


def stale_parts(root: Path = ROOT) -> list[str]:
    """The compiled parts below `root` that are older than a file they are made of; `pyproject.toml` says which those are."""
    table = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    return [part["name"] for part in table.get("ext-modules", []) if _is_stale(root, part)]


def _is_stale(root: Path, part: dict[str, Any]) -> bool:
    built = root / f"{part['name'].replace('.', '/')}{SUFFIX}"
    sources = [root / source for source in part["sources"] + part["depends"]]
    return built.exists() and any(source.stat().st_mtime > built.stat().st_mtime for source in sources if source.exists())

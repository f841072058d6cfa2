"""Which implementation of a part runs: the compiled one or its twin in plain Python.

A part that has both asks here for the compiled module. `PRESENCEDB_IMPL` in the environment forces one: `c` or `python`;
without it the compiled one runs where it can be imported. Forcing one that is missing fails at import, so that nobody
measures or tests the other by mistake.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Final

ENVIRONMENT_VARIABLE: Final = "PRESENCEDB_IMPL"
COMPILED: Final = "c"
PYTHON: Final = "python"


def compiled_module(name: str) -> ModuleType | None:
    """The compiled module of this full name, or None where the twin in Python is to be used.

    Raises:
        ImportError: the environment forces the compiled one and it cannot be imported, or asks for something else.
    """
    wanted = os.environ.get(ENVIRONMENT_VARIABLE, "")
    if wanted not in ("", COMPILED, PYTHON):
        raise ImportError(f"{ENVIRONMENT_VARIABLE} is {COMPILED!r} or {PYTHON!r}, not {wanted!r}")
    if wanted == PYTHON:
        return None
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if wanted == COMPILED:
            raise ImportError(
                f"{ENVIRONMENT_VARIABLE}={COMPILED}, but {name} cannot be imported ({error}); "
                f"install presencedb with a C compiler, or unset the variable to run in Python"
            ) from error
        return None

"""Whether this is the first start of a member: the only moment when nobody can have beaten before.

A record in the data directory says that there was one. Without a data directory a first start and a restart look the same.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from presencedb.errors import ConfigError

_RECORD: Final = "member.json"


class Founding:
    """The record of one member.

    Attributes:
        is_first_start: nothing says that there was one before; False from `record` on.
    """

    def __init__(self, data_dir: Path | None, cluster: str, member_id: str) -> None:
        """Read the record.

        Raises:
            ConfigError: it is of another cluster or member, or cannot be read: its data are not ours.
        """
        self._path = None if data_dir is None else data_dir / _RECORD
        self._content = {"cluster": cluster, "member": member_id}
        self.is_first_start = self._path is not None and not self._find()

    def record(self) -> None:
        """From now on there was a start.

        Raises:
            OSError: it cannot be written.
        """
        self.is_first_start = False
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".new")
        with draft.open("w", encoding="utf-8") as file:
            json.dump(self._content, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)

    def _find(self) -> bool:
        assert self._path is not None
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return False
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self._path}: it cannot be read: {error}") from None
        if found != self._content:
            raise ConfigError(f"{self._path}: this is the data of {found}, not of {self._content}")
        return True

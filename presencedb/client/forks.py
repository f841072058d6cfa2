"""What a forked child must leave alone: it inherits its parent's sockets and locks, and may use neither.

Whoever owns such a thing registers it here. In a child, each is told before any other code runs there: it closes the child's
copies without a word to the peer, and is of no more use, or begins anew.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Inherited(Protocol):
    """Something that a child must not use as it is."""

    def forget_after_fork(self) -> None:
        """In the child: let go of what is the parent's. No lock may be waited for; its holder is not in this process."""
        ...


_registered: weakref.WeakSet[Inherited] = weakref.WeakSet()


def forget_in_child(thing: Inherited) -> None:
    """Have a thing told in every child, as long as it lives."""
    _registered.add(thing)


def _tell_all() -> None:
    for thing in list(_registered):
        thing.forget_after_fork()


os.register_at_fork(after_in_child=_tell_all)

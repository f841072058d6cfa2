"""What a forked child must leave alone: it inherits its parent's sockets and locks, and may use neither.

Whoever owns such a thing registers it here. In a child, each is told before any other code runs there: it closes the child's
copies without a word to the peer, and is of no more use, or begins anew.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_registered: weakref.WeakKeyDictionary[Any, Callable[[Any], None]] = weakref.WeakKeyDictionary()


def forget_in_child(thing: T, forget: Callable[[T], None]) -> None:
    """Have a thing let go of what is the parent's in every child, as long as it lives.

    Args:
        forget: a function that gets the thing, not bound to it. It may wait for no lock, whose holder is not in the child.
    """
    _registered[thing] = forget


def _tell_all() -> None:
    for thing, forget in list(_registered.items()):
        forget(thing)


os.register_at_fork(after_in_child=_tell_all)

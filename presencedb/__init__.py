"""presencedb: the store behind the green dot."""

from presencedb.version import __version__

__all__ = ["__version__"]

"""The version, stated once; the build and `hello` read it here."""

__version__ = "0.1.0"

"""The version, in a module of its own so that `mien` need not be imported by its own parts."""

__version__ = "0.2.0"

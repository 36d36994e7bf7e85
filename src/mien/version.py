"""The version, in a module of its own so that `mien` need not be imported by its own parts."""

__version__ = "0.1.0.dev0"

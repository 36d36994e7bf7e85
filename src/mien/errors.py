"""Errors that a user can act on; the command line prints them as one sentence and exits with code 2."""

from __future__ import annotations


class MienError(Exception):
    """Base of every error whose text is written for the user."""


class InputError(MienError):
    """An input file, folder or option is unusable; the text names it and says how to fix it."""


class OutputError(MienError):
    """The output cannot be written; the text names the path and the cause."""


class WeightsError(MienError):
    """A weight file is missing, damaged or does not fit; the text names the file and the keys."""

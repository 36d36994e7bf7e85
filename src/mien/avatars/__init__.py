"""Synthetic people: the head model, fitting a photograph, rendering, motion; the source of exact training data.

Everything here needs numba, which takes a while to import: nothing outside this room imports it when `mien` starts.
"""

from __future__ import annotations

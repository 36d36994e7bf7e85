"""`python -m mien`: the same as the `mien` command."""

from __future__ import annotations

from mien.cli.app import main

main()

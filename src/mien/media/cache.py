"""Where fetched and installed files are kept."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "MIEN_CACHE"


def cache_folder() -> Path:
    """$MIEN_CACHE, else ~/.cache/mien; it need not exist."""
    given = os.environ.get(CACHE_VARIABLE)
    return Path(given).expanduser() if given else Path.home() / ".cache" / "mien"

from __future__ import annotations

from samples import inputs

__all__ = ["inputs"]

"""Faces for tests of geometry."""

from __future__ import annotations

from faces_drawn import face

__all__ = ["face"]

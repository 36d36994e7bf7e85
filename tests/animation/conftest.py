from __future__ import annotations

from samples import drawn_reader, inputs, tiny_model

__all__ = ["drawn_reader", "inputs", "tiny_model"]

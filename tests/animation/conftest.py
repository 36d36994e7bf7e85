from __future__ import annotations

from samples import drawn_reader, inputs, tiny_model
from window_faces import drawn_person

__all__ = ["drawn_person", "drawn_reader", "inputs", "tiny_model"]

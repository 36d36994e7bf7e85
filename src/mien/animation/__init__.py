"""From a portrait and a driving video to frames: reading the source, the driving video and the motion between them."""

"""Foreign checkpoints into our folder format, strictly, and the golden parity kits."""

"""What every training stage runs on: configuration, trainer, data loading, checkpoints, averaging, logging."""

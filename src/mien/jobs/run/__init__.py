"""What surrounds any job: the output's lock, frame checkpoints, records, progress, fallbacks and workers."""

"""Networks only: no file is read here and no device is chosen."""

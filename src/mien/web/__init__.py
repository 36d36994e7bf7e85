"""The page that `mien serve` opens in a browser; everything it does is done by `jobs`."""

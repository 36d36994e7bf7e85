"""The `mien` command: one file a command, each parses, builds one dataclass and calls one function of `jobs`."""

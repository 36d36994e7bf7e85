"""Compare this code with golden arrays of the published code: `python tests/parity [KIT]`.

Without KIT it takes the kit beside this file. Prints a line for each array: how far ours is from it, and how far it may
be. Exit code 1 if one is beyond its tolerance, 2 for a folder that is no kit.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mien.errors import MienError
from parity.runs import run_parity

BUNDLED = Path(__file__).resolve().parent / "kit"


def main(arguments: Sequence[str] | None = None) -> int:
    """The script; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python tests/parity", description=__doc__)
    parser.add_argument("kit", nargs="?", type=Path, default=BUNDLED, help="manifest.json, inputs.npz and outputs.npz")
    try:
        results = run_parity(parser.parse_args(arguments).kit)
    except MienError as error:
        print(error, file=sys.stderr)
        return 2
    for result in results:
        print(result.line())
    failed = sum(not result.passed for result in results)
    print(f"{len(results) - failed} of {len(results)} arrays within tolerance")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())

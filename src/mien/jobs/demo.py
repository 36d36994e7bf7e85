"""The demo: the bundled portrait, animated with the bundled driving video. Both are rendered; they show nobody."""

from __future__ import annotations

from pathlib import Path

from mien.errors import InputError
from mien.jobs.options import AnimateOptions
from mien.jobs.run.outputs import checked_place

FOLDER = Path(__file__).resolve().parent.parent / "demo"


def demo_options(output: Path) -> AnimateOptions:
    """What `mien demo` runs.

    Args:
        output: the folder for its result.

    Returns:
        Options of an animation.

    Raises:
        InputError: if the demo's files are missing.
    """
    portrait, driver = FOLDER / "portrait_1.png", FOLDER / "driver.mp4"
    for path in (portrait, driver):
        if not path.is_file():
            raise InputError(f"{path} is missing: this installation of mien is incomplete, install it again")
    checked_place(output)
    return AnimateOptions(portraits=(portrait,), driver=driver, output=output / "demo.mp4", preview=True, device="cpu")

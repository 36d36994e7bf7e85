"""The demo: a bundled portrait, animated with bundled driving videos. All are made by machines; they show nobody."""

from __future__ import annotations

from pathlib import Path

from mien.errors import InputError
from mien.jobs.options import AnimateOptions, unloaded_options
from mien.jobs.run.outputs import checked_place

FOLDER = Path(__file__).resolve().parent.parent / "demo"


def demo_options(output: Path, apart: bool = False) -> AnimateOptions:
    """What `mien demo` runs.

    Args:
        output: the folder for its result.
        apart: DeX-Portrait nano, the head pose from one video and the expression from another.

    Returns:
        Options of an animation.

    Raises:
        InputError: if the demo's files are missing.
    """
    portrait, driver, pose = (FOLDER / name for name in ("portrait_1.png", "driver.mp4", "pose.mp4"))
    for path in (portrait, driver, pose):
        if not path.is_file():
            raise InputError(f"{path} is missing: this installation of mien is incomplete, install it again")
    checked_place(output)
    if apart:
        return unloaded_options(
            portraits=(portrait,), driver=None, pose_from=pose, expression_from=driver, model="dex-nano",
            output=output / "apart.mp4", preview=True, device="cpu",
        )  # fmt: skip
    return AnimateOptions(portraits=(portrait,), driver=driver, output=output / "demo.mp4", preview=True, device="cpu")

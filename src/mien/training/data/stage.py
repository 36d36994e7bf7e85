"""Where `--data` leads, and the stage that draws samples from there: all but the readers, the VAE and the encoders."""

from __future__ import annotations

from pathlib import Path

from mien.avatars.group_files import group_names
from mien.errors import InputError
from mien.training.data.avatar_groups import AvatarClips
from mien.training.data.rendered_people import RenderedPeople
from mien.training.data.samples import Mixture, SampleSource
from mien.training.data.video_clips import VideoClips
from mien.training.engine.config import StageConfig
from mien.training.engine.stage import Stage


def open_data(config: StageConfig) -> Mixture:
    """The data of `--data`.

    Args:
        config: of a stage.

    Returns:
        What samples are drawn from.

    Raises:
        InputError: a place holds nothing that can be trained on.
    """
    return Mixture([(_open(path, config), weight) for path, weight in config.sources()])


def open_held_out(config: StageConfig) -> Mixture | None:
    """The groups of `--data` that are kept for validation.

    Args:
        config: of a stage.

    Returns:
        None: there are none.
    """
    folders = [(path, weight) for path, weight in config.sources() if path.is_dir()]
    opened = [(AvatarClips(path, config.dataset.hold_out, True), weight) for path, weight in folders]
    kept = [(clips, weight) for clips, weight in opened if clips.groups]
    total = sum(weight for _, weight in kept)
    return Mixture([(clips, weight / total) for clips, weight in kept]) if kept else None


def _open(path: Path, config: StageConfig) -> SampleSource:
    if path.is_file():
        people = RenderedPeople(path, config.loop.seed)
        _ = people.cast  # says at once what is wrong with the file
        return people
    if group_names(path):
        clips = AvatarClips(path, config.dataset.hold_out)
        if not clips.groups:
            raise InputError(f"{path}: all groups are held out of the training; give --hold-out a larger number.")
        return clips
    if any(path.glob("*_[0-9][0-9][0-9].npz")):
        return VideoClips(path)
    raise InputError(
        f"{path} holds nothing to train on: give a folder of `mien data avatars` or `mien data prepare`, "
        "or a file of `mien data pack`."
    )


class SampleStage(Stage):
    """A stage whose batches are made of samples. `options`: its config; `data`: in place of what the options name."""

    options: StageConfig
    data: SampleSource | None = None

    def samples(self) -> SampleSource:
        """The data, opened on first use."""
        if self.data is None:
            self.data = open_data(self.options)
        return self.data

    def check(self) -> None:
        """See `Stage.check`."""
        self.samples()

    def at_step(self, step: int) -> None:
        """See `Stage.at_step`."""
        self.samples().at_step(step)

    def refresh(self) -> None:
        """Data that have come in since are taken in."""
        self.samples().refresh()

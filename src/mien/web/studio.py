"""The models of a running page, loaded once, and the jobs that people ask it for, one at a time."""

from __future__ import annotations

import threading
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien import faces
from mien.animation.face_edit import FaceChange
from mien.animation.image_edit import StillEditor, still_editor
from mien.animation.loading import load_pipeline, system_of
from mien.animation.source import find_portrait, read_portrait_image
from mien.errors import InputError, MienError
from mien.faces import FaceReader
from mien.jobs.animate import animate
from mien.jobs.edit import EditOptions, edit
from mien.jobs.options import AnimateOptions
from mien.jobs.report import AnimateReport
from mien.media.files import readable_name, whole_file
from mien.motion.keypoint_motion import LANDMARKS
from mien.web.limits import check_driver, check_list, check_size
from mien.web.options import ServeOptions
from mien.web.running import Watch
from mien.web.workspace import Workspace
from mien.weights import HERE

NO_DEX = (
    "DeX-Portrait has no weights in this installation: start the web UI with --dex-model FOLDER, or choose X-Portrait"
)
_PORTRAITS = 6  # that are kept ready for the sliders


@dataclass(frozen=True)
class BatchResult:
    """archive: a zip with every result. results: pair and file; failed: pair and reason."""

    archive: Path | None
    results: dict[str, Path]
    failed: dict[str, str]


class Studio:
    """Models, readers and the folder of one page. Jobs wait for each other, sliders do not wait for jobs."""

    def __init__(self, options: ServeOptions, workspace: Workspace) -> None:
        self.options, self.workspace = options, workspace
        self._turn, self._loading, self._editing = threading.Lock(), threading.Lock(), threading.Lock()
        self._pipes: dict[str, Any] = {}
        self._readers: dict[str, FaceReader] = {}
        self._editors: OrderedDict[tuple[Path, int | None], StillEditor] = OrderedDict()
        self._blendshapes: OrderedDict[Path, NDArray[np.floating]] = OrderedDict()

    @property
    def has_dex(self) -> bool:
        """Whether there are weights of DeX-Portrait."""
        return self.options.dex_model is not None or (HERE / "dex_portrait_nano").is_dir()

    @property
    def follows_gaze(self) -> bool:
        """Whether the model's stills can look elsewhere: it moves pupils beside the landmarks."""
        basis = self._pipe(self.options.model, None).face_basis
        return basis is not None and len(basis.mean) > LANDMARKS

    def animate(self, options: AnimateOptions, watch: Watch) -> AnimateReport:
        """Run a job of `mien animate` within the web UI's limits, when it is its turn."""
        self._check(options)
        with self._my_turn(watch):
            return self._run(options, watch)

    def edit(self, options: EditOptions, watch: Watch) -> AnimateReport:
        """Run a job of `mien edit`, when it is its turn."""
        self._check(options)
        with self._my_turn(watch):
            options = replace(options, model=self._model(options))
            return edit(options, watch, pipe=self._pipe(options.model, watch), reader=self._reader("jobs"))

    def batch(self, jobs: list[AnimateOptions], watch: Watch) -> BatchResult:
        """Run jobs one after the other; what fails is left out and told."""
        if len(jobs) > self.options.pairs:
            raise InputError(
                f"these are {len(jobs)} pairs, but {self.options.pairs} are allowed here: choose fewer files"
            )
        results: dict[str, Path] = {}
        failed: dict[str, str] = {}
        with self._my_turn(watch):
            for number, options in enumerate(jobs, 1):
                pair = f"{options.portraits[0].name} by {options.driver.name}"
                watch.part(f"{number} of {len(jobs)} · ")
                try:
                    self._check(options)
                    results[pair] = self._run(options, watch).output
                except MienError as error:
                    failed[pair] = self.workspace.without_paths(str(error))
        return BatchResult(self._archive(results), results, failed)

    def show(self, portrait: Path, change: FaceChange, other: Path | None, gain: float) -> NDArray[np.uint8]:
        """A still with a change, at once: one pass of the model. other: a face whose expression to start from."""
        for path in (portrait, other):
            if path is not None:
                check_size(self.workspace.own(path), self.options)
        with self._editing:
            editor = self._editor(portrait)
            expression = None if other is None else editor.mixed(self._expression(other), gain)
            return editor.picture(change, expression)

    def warm(self) -> None:
        """Load the model before anybody waits for it. Raises WeightsError or InputError."""
        self._pipe(self.options.model, None)
        self._reader("sliders")

    def close(self) -> None:
        """Free the readers."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    @contextmanager
    def _my_turn(self, watch: Watch) -> Iterator[None]:
        while not self._turn.acquire(timeout=0.2):
            watch.check()
        try:
            watch.begin()
            self.workspace.sweep()
            yield
        finally:
            self._turn.release()

    def _run(self, options: AnimateOptions, watch: Watch) -> AnimateReport:
        options = replace(options, model=self._model(options))
        return animate(options, watch, pipe=self._pipe(options.model, watch), reader=self._reader("jobs"))

    def _model(self, options: AnimateOptions) -> str:
        """The page's model of the system that was chosen. Raises InputError if it has none."""
        if system_of(options.model) != "dex" or options.model == self.options.model:
            return self.options.model
        if not self.has_dex:
            raise InputError(NO_DEX)
        return self.options.dex_model or "dex-nano"

    def _check(self, options: AnimateOptions) -> None:
        """Limits and places of all inputs. Raises InputError."""
        for path in options.portraits:
            check_size(self.workspace.own(path), self.options)
        if isinstance(options, EditOptions):
            drivers = {options.expression_from}
        elif options.expressions is not None:
            check_list(self.workspace.own(options.expressions), self.options)
            drivers = set()
        else:
            drivers = {options.pose_driver, options.expression_driver}
        for driver in drivers:
            if driver is not None:
                check_driver(self.workspace.own(driver), self.options, options.start, options.end)
        self._model(options)

    def _pipe(self, model: str, watch: Watch | None) -> Any:
        """One of the web UI's models."""
        with self._loading:
            if model not in self._pipes:
                if watch is not None:
                    watch.stage("Loading the model", None)
                placed = {name: getattr(self.options, name) for name in ("device", "dtype", "offload", "quantize")}
                self._pipes[model] = load_pipeline(model, **placed)
            return self._pipes[model]

    def _reader(self, use: str) -> FaceReader:
        """One reader for jobs and one for sliders: neither is used by two threads at a time."""
        with self._loading:
            if use not in self._readers:
                self._readers[use] = faces.load_face_reader(self.options.reader)
            return self._readers[use]

    def _editor(self, path: Path) -> StillEditor:
        return _recent(self._editors, (path, None), lambda: self._new_editor(path))

    def _new_editor(self, path: Path) -> StillEditor:
        image = read_portrait_image(path)
        return still_editor(
            self._pipe(self.options.model, None), find_portrait(path, image, self._reader("sliders"), None)
        )

    def _expression(self, path: Path) -> NDArray[np.floating]:
        def read() -> NDArray[np.floating]:
            return find_portrait(path, read_portrait_image(path), self._reader("sliders"), None).reading.expression

        return _recent(self._blendshapes, path, read)

    def _archive(self, results: dict[str, Path]) -> Path | None:
        if not results:
            return None
        path = self.workspace.result_folder() / "mien.zip"
        with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for file in results.values():  # videos are compressed already
                archive.write(file, readable_name(file.name))
        return path


def _recent(kept: OrderedDict[Any, Any], key: Any, make: Any) -> Any:
    """What is kept under a key, made if it is not there; the least recently used one goes."""
    if key not in kept:
        kept[key] = make()
    kept.move_to_end(key)
    while len(kept) > _PORTRAITS:
        kept.popitem(last=False)
    return kept[key]


def pairs(portraits: list[Path], drivers: list[Path], folder: Path, **more: Any) -> list[AnimateOptions]:
    """A job for every portrait with every driving video; results of one name are numbered."""
    jobs: list[AnimateOptions] = []
    taken: dict[str, int] = {}
    for portrait, driver in product(portraits, drivers):
        name = f"{portrait.stem}--{driver.stem}"
        taken[name] = taken.get(name, 0) + 1
        number = f"-{taken[name]}" if taken[name] > 1 else ""
        output = folder / f"{name}{number}.mp4"
        jobs.append(AnimateOptions(portraits=(portrait,), driver=driver, output=output, **more))
    return jobs

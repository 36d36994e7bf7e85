"""What the page does without a browser: options, its folder, limits, running and stopping jobs."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.cli.app import app
from mien.errors import InputError, OutputError
from mien.jobs.demo import FOLDER
from mien.jobs.options import AnimateOptions
from mien.media import open_clip
from mien.web.about import about_sections
from mien.web.limits import check_driver, check_list, check_size
from mien.web.options import ServeOptions
from mien.web.running import Running, Status, StoppedError, Watch, Watches
from mien.web.serve import Page, open_page
from mien.web.studio import Studio, pairs
from mien.web.style import CSS, note, progress
from mien.web.workspace import Workspace
from page_parts import studio, workspace
from samples import inputs

__all__ = ["inputs", "studio", "workspace"]  # fixtures


def uploaded(inputs: Path, workspace: Workspace, name: str) -> Path:
    folder = workspace.root / "0123abcd"
    folder.mkdir(exist_ok=True)
    return Path(shutil.copy(inputs / name, folder / name))


def job(inputs: Path, workspace: Workspace, **changes: Any) -> AnimateOptions:
    given: dict[str, Any] = {
        "portraits": (uploaded(inputs, workspace, "portrait.png"),),
        "driver": uploaded(inputs, workspace, "driver.mp4"),
        "output": workspace.result_folder() / "out.mp4",
    }
    return AnimateOptions(**{**given, "steps": 1, **changes})


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"port": 70000}, "--port is 70000"),
        ({"file_mb": 0}, "--file-mb is 0"),
        ({"queued": 1.5}, "--queued is 1.5"),
        ({"device": "tpu"}, "--device is 'tpu'"),
        ({"reader": "nano"}, "the face reader 'nano' is gone: give auto"),
        ({"root_path": "mien"}, "--root-path is 'mien'"),
        ({"folder": Path("/no/such/folder")}, "--folder is /no/such/folder"),
    ],
)
def test_options_that_make_no_sense_are_told(wish: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        ServeOptions(**wish)


def test_the_page_listens_to_this_machine_alone_unless_asked() -> None:
    options = ServeOptions()
    assert (options.host, options.share) == ("127.0.0.1", False)


def test_the_folder_is_this_users_alone_and_goes_with_the_page(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert workspace.root.parent == tmp_path
    assert os.name == "nt" or workspace.root.stat().st_mode & 0o077 == 0
    (workspace.result_folder() / "out.mp4").write_bytes(b"1")
    workspace.close()
    assert not list(tmp_path.iterdir())
    with pytest.raises(OutputError, match="cannot be written"):
        Workspace(tmp_path / "missing")


def test_only_files_of_the_page_are_read(workspace: Workspace, tmp_path: Path) -> None:
    mine, foreign = workspace.root / "a.png", tmp_path / "b.png"
    for path in (mine, foreign):
        path.write_bytes(b"1")
    assert workspace.own(mine) == mine
    assert workspace.own(FOLDER / "driver.mp4").name == "driver.mp4"
    (workspace.root / "link.png").symlink_to(foreign)
    for path in (foreign, workspace.root / ".." / "b.png", workspace.root / "link.png", workspace.root):
        with pytest.raises(InputError, match="upload it again"):
            workspace.own(path)


def test_sentences_do_not_tell_where_files_lie(workspace: Workspace) -> None:
    text = f"{workspace.root}/9f/x y.png is empty; see {workspace.root}/results/0/out.mp4."
    assert workspace.without_paths(f"{workspace.root}/9f/x.png is empty.") == "x.png is empty."
    assert str(workspace.root) not in workspace.without_paths(text)


def test_old_files_are_swept_away_and_new_ones_stay(workspace: Workspace) -> None:
    old, new = workspace.result_folder() / "old.mp4", workspace.result_folder() / "new.mp4"
    for path in (old, new):
        path.write_bytes(b"1")
    past = time.time() - 2 * 3600
    for place in (old, old.parent):
        os.utime(place, (past, past))
    assert workspace.sweep() == 1
    assert new.exists() and not old.exists()


def test_files_and_drivers_have_limits(inputs: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.truncate(3 * 10**6)
    with pytest.raises(InputError, match="large.png has 3 MB, but files may have 2 MB here"):
        check_size(large, ServeOptions(file_mb=2))
    options, driver = ServeOptions(clip_seconds=2), FOLDER / "driver.mp4"
    assert float(open_clip(driver).info.duration or 0) > 2.6
    with pytest.raises(InputError, match="2 are allowed here: set start and end"):
        check_driver(driver, options)
    check_driver(driver, options, start=0.5, end=2.5)
    check_driver(inputs / "driver.mp4", options)


def test_lists_of_expressions_have_limits_and_name_no_files_of_the_server(tmp_path: Path) -> None:
    listed = tmp_path / "list.yaml"
    listed.write_text("expressions: [{at: 0}, {at: 2, smile: 1}]")
    check_list(listed, ServeOptions(clip_seconds=2))
    with pytest.raises(InputError, match="list.yaml lasts 2 seconds, but 1 are allowed here"):
        check_list(listed, ServeOptions(clip_seconds=1))
    listed.write_text("expressions: [{at: 0, picture: /etc/face.png}]")
    with pytest.raises(InputError, match="list.yaml names a picture, which is not here"):
        check_list(listed, ServeOptions())


def test_progress_is_told_in_order_and_the_result_handed_over() -> None:
    def work(watch: Watch) -> str:
        watch.stage("Reading", 4)
        for done in range(5):
            watch.update(done)
            time.sleep(0.1)
        return "done"

    running = Running(work, Watch(60))
    shares = [status.share for status in running.follow() if status.title == "Reading" and status.share is not None]
    assert shares == sorted(shares) and shares
    assert running.result() == "done"


@pytest.mark.parametrize("how", ["stop", "leave", "time"])
def test_a_job_ends_at_its_next_word(how: str) -> None:
    watch, steps = Watch(0.3 if how == "time" else 60), []

    def work(watch: Watch) -> None:
        watch.begin()
        for step in range(1000):
            watch.update(step)
            steps.append(step)
            time.sleep(0.02)

    running = Running(work, watch)
    following = running.follow()
    next(following)
    if how == "stop":
        watch.stop()
    if how == "leave":
        following.close()  # the browser is gone
    list(following)
    with pytest.raises(InputError if how == "time" else StoppedError):
        running.result()
    assert len(steps) < 200


def test_people_stop_their_own_jobs_only() -> None:
    watches, mine, yours = Watches(), Watch(60), Watch(60)
    watches.add("me", mine)
    watches.add("you", yours)
    assert watches.stop("me") == 1
    yours.check()
    with pytest.raises(StoppedError):
        mine.check()
    watches.remove("me", mine)
    assert watches.stop("me") == 0
    watches.stop_all()
    with pytest.raises(StoppedError):
        yours.check()


def test_a_job_runs_and_a_stopped_one_leaves_nothing(studio: Studio, inputs: Path) -> None:
    options = job(inputs, studio.workspace)
    assert studio.animate(options, Watch(60)).frames == 9
    assert open_clip(options.output).count() == 9

    class Impatient(Watch):
        def update(self, done: float) -> None:
            if self.status().title == "Animating" and done > 0:
                self.stop()
            super().update(done)

    options = job(inputs, studio.workspace)
    with pytest.raises(StoppedError):
        studio.animate(options, Impatient(60))
    assert not list(options.output.parent.iterdir())
    assert studio.animate(options, Watch(60)).frames == 9  # the page works on


def test_files_from_elsewhere_are_refused(studio: Studio, inputs: Path) -> None:
    with pytest.raises(InputError, match="portrait.png is not there any more"):
        studio.animate(job(inputs, studio.workspace, portraits=(inputs / "portrait.png",)), Watch(60))


def test_a_batch_leaves_out_what_fails_and_zips_the_rest(studio: Studio, inputs: Path) -> None:
    space = studio.workspace
    portraits = [uploaded(inputs, space, name) for name in ("portrait.png", "no_face.png", "portrait_2.png")]
    jobs = pairs(portraits, [uploaded(inputs, space, "driver.mp4")], space.result_folder(), steps=1)
    result = studio.batch(jobs, Watch(60))
    assert list(result.results) == ["portrait.png by driver.mp4", "portrait_2.png by driver.mp4"]
    (reason,) = result.failed.values()
    assert reason.startswith("no face was found in no_face.png")
    assert result.archive is not None
    with zipfile.ZipFile(result.archive) as archive:
        assert archive.namelist() == ["portrait--driver.mp4", "portrait_2--driver.mp4"]
    with pytest.raises(InputError, match="these are 3 pairs, but 2 are allowed"):
        Studio(ServeOptions(pairs=2), space).batch(jobs, Watch(60))


def test_pairs_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    jobs = pairs([Path("a/face.png"), Path("b/face.png")], [Path("talk.mp4")], tmp_path)
    assert [options.output.name for options in jobs] == ["face--talk.mp4", "face--talk-2.mp4"]


def test_without_its_weights_the_other_system_says_so(studio: Studio, inputs: Path) -> None:
    from mien.jobs.options import AnimateOptions

    if studio.has_dex:
        pytest.skip("DeX-Portrait's weights are bundled")
    given = job(inputs, studio.workspace)
    options = AnimateOptions(given.portraits, given.driver, given.output, model="dex-nano")
    with pytest.raises(InputError, match="DeX-Portrait has no weights in this installation"):
        studio.animate(options, Watch(60))


def test_what_the_page_says_is_escaped_and_measured() -> None:
    assert "&lt;b&gt;" in note("<b>.png is empty.", "error") and "<b>" not in note("<b>", "error", ("<b>",))
    bar = progress(Status("Animating", 0.41, 130))
    assert "Animating · 41 % · about 2 min left" in bar and "width: 41%" in bar


def test_the_page_tells_licence_limits_and_responsible_use() -> None:
    sections = about_sections(ServeOptions(file_mb=7))
    assert "up to 7 MB" in sections["This page"]
    assert "people who agreed" in sections["Responsible use"]
    assert "Far turns" in sections["Limits"]
    cards = [text for title, text in sections.items() if title.startswith("Model card")]
    assert len(cards) >= 2 and all("Apache-2.0" in card for card in cards)
    assert not any("](../" in text or "](train" in text for text in sections.values())


def test_the_page_ends_when_the_system_asks(workspace: Workspace) -> None:
    page = Page("http://127.0.0.1:1/", None, workspace, None, None, None, None)
    before = signal.getsignal(signal.SIGTERM)  # Ray, where it ran in this process, leaves its own
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
    page.wait()
    assert signal.getsignal(signal.SIGTERM) is before


def test_without_gradio_the_extra_is_named_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(InputError, match=r"pip install 'mien\[web\]'"):
        open_page(ServeOptions(folder=tmp_path), warm=False)
    assert not list(tmp_path.iterdir())


def test_a_port_that_is_taken_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gradio", reason="needs gradio: pip install 'mien[web]'")
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit) as left:
        app(["serve", "--port", str(taken.getsockname()[1]), "--folder", str(tmp_path)])
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert "is not free" in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


class TestWidgets:
    """What the widgets say becomes the options of a job."""

    def inputs(self, **changes: Any) -> dict[str, Any]:
        gains = {f"{region}_gain": 1.0 for region in ("eyes", "mouth", "brows", "head", "pose", "expression")}
        files = {"portrait": "p.png", "driver": "d.mp4", "pose_from": None, "expression_from": None}
        files["expressions"] = None
        rest = {
            "system": "X-Portrait",
            "smooth": 0.0,
            "relative": "where the driving video is",
            "start": None,
            "end": None,
            "seed": 0,
        }
        more = {"face": "the clearest", "steps": None, "paste_back": True, "preview": True}
        return {**gains, **files, **rest, **more, **changes}

    @pytest.fixture(autouse=True)
    def _gradio(self) -> None:
        pytest.importorskip("gradio", reason="needs gradio: pip install 'mien[web]'")

    def test_of_x_portrait(self, tmp_path: Path) -> None:
        from mien.web.animate_tab import options_from

        inputs = self.inputs(
            mouth_gain=1.5, smooth=0.3, face="all", steps=4.0, relative="from the portrait's own on", start=1.0
        )
        options = options_from(inputs, tmp_path)
        assert (options.mouth_gain, options.smooth, options.face, options.steps) == (1.5, 0.3, "all", 4)
        assert (options.relative, options.start, options.end) == (True, 1.0, None)
        assert options.output == tmp_path / "p--d.mp4"

    def test_of_dex_portrait_with_two_sources(self, tmp_path: Path) -> None:
        from mien.web.animate_tab import options_from

        inputs = self.inputs(system="DeX-Portrait", driver=None, pose_from="a.mp4", expression_from="b.mp4")
        options = options_from({**inputs, "pose_gain": 0.5}, tmp_path)
        assert options.model == "dex-nano"
        assert (options.pose_from, options.expression_from, options.pose_gain) == (Path("a.mp4"), Path("b.mp4"), 0.5)

    def test_of_a_list_of_expressions(self, tmp_path: Path) -> None:
        """It goes alone: of what is chosen beside, only what holds for any result counts."""
        from mien.animation.expression_list import load_list
        from mien.web.animate_tab import EXAMPLE_LIST, options_from

        inputs = self.inputs(expressions="nods.yaml", start=1.0, mouth_gain=2.0, seed=4, system="DeX-Portrait")
        options = options_from(inputs, tmp_path)
        assert (options.expressions, options.driver) == (Path("nods.yaml"), Path("nods.yaml"))
        assert (options.model, options.seed, options.start, options.preview) == ("dex-nano", 4, None, False)
        assert options.output == tmp_path / "p--nods.mp4"
        (tmp_path / "shown.yaml").write_text(EXAMPLE_LIST)
        assert len(load_list(tmp_path / "shown.yaml")) == 51

    def test_of_an_edit(self, tmp_path: Path) -> None:
        from mien.web.edit_tab import OPTIONS, options_from

        start = {name: one.default for name, one in OPTIONS.items()}
        inputs = {**start, "portrait": "p.png", "expression_from": None, "expression_gain": 1.0, "system": "X-Portrait"}
        options = options_from({**inputs, "yaw": 10}, tmp_path)
        assert np.isclose(options.change.yaw, 10)  # type: ignore[union-attr]
        with pytest.raises(InputError, match="nothing is to change"):
            options_from(inputs, tmp_path)

    def test_missing_files_are_told(self, tmp_path: Path) -> None:
        from mien.web.animate_tab import options_from

        with pytest.raises(InputError, match="The portrait is missing"):
            options_from(self.inputs(portrait=None), tmp_path)
        with pytest.raises(InputError, match="The driving video is missing"):
            options_from(self.inputs(driver=None), tmp_path)


def test_grey_words_can_be_read_on_both_backgrounds() -> None:
    """Contrast of at least 4.5 to 1 (WCAG 2.2, 1.4.3) on the theme's backgrounds, light and dark."""

    def brightness(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in parts]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    light, dark = re.findall(r"--body-text-color-subdued: (#\w{6})", CSS)
    for words, paper in ((light, "#f9fafb"), (light, "#ffffff"), (dark, "#0b0f19"), (dark, "#1f2937")):
        low, high = sorted((brightness(words), brightness(paper)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (words, paper)

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mien.errors import InputError, MienError
from mien.jobs.run.progress import Silent
from mien.jobs.run.workers import LOCAL_RAY, Outcome, spread, work_in


def test_pieces_are_counted_once_each() -> None:
    outcome = Outcome(kept=["old"])
    work = {"a": None, "b": "bad", "c": None}.get
    spread(work, [(name, (name,)) for name in "abc"], 1, "pieces", outcome, Silent())
    assert (outcome.done, outcome.failed) == (["a", "c"], {"b": "bad"})
    assert outcome.summary("pieces") == "2 pieces made, 1 were there already, 1 left out"


def test_what_killed_runs_left_is_removed_unless_another_run_works_there(tmp_path: Path) -> None:
    def leave() -> tuple[Path, Path]:
        half, whole = tmp_path / ".a_000.0123456789ab.part.mp4", tmp_path / ".a.part.mp4"
        for path in (half, whole):
            path.write_bytes(b"x")
        return half, whole

    half, whole = leave()
    with work_in(tmp_path):
        assert not half.exists() and whole.exists(), "only names that no user gives"
        leave()
        with work_in(tmp_path):
            assert half.exists(), "the outer run may be writing it"
    with work_in(tmp_path):
        assert not half.exists()


def test_a_worker_that_is_killed_ends_the_run_with_a_sentence() -> None:
    with pytest.raises(MienError, match="ended from outside"):
        spread(os.kill, [("a", (0, 0)), ("b", (_own_group(), signal.SIGKILL))], 2, "pieces", Outcome(), Silent())


def _own_group() -> int:
    """A number that names only the worker: the work runs there, so it must not be known here."""
    return _SelfAtArrival()  # type: ignore[return-value]


class _SelfAtArrival:
    def __reduce__(self) -> tuple:
        return os.getpid, ()


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_workers_do_not_outlive_a_killed_run(tmp_path: Path) -> None:
    code = (
        "import time\nfrom mien.jobs.run.progress import Silent\nfrom mien.jobs.run.workers import Outcome, spread\n"
        "if __name__ == '__main__':\n"
        "    spread(time.sleep, [(str(n), (60,)) for n in range(2)], 2, 'naps', Outcome(), Silent())\n"
    )
    script = tmp_path / "run.py"
    script.write_text(code)
    run = subprocess.Popen([sys.executable, script])
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
    try:
        workers: list[str] = []
        for _ in range(300):  # the resource tracker and two workers
            workers = children.read_text().split()
            if len(workers) == 3 and all(Path(f"/proc/{pid}/wchan").exists() for pid in workers):
                break
            time.sleep(0.1)
        assert len(workers) == 3
        time.sleep(1.0)  # the watch begins
    finally:
        run.kill()
        run.wait()
    for _ in range(100):
        if not any(_alive(pid) for pid in workers):
            return
        time.sleep(0.1)
    pytest.fail("a worker lives on")


def _alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_ray_loses_nothing_when_a_worker_dies(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra `scale`")

    def work(name: str, folder: str) -> str | None:  # nested, so that it travels by value
        import os
        import signal
        from pathlib import Path

        from mien.errors import InputError

        mark = Path(folder) / f"{name}.tried"
        if name == "2" and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "3":
            return "unusable"
        if name == "stop":
            raise InputError("nothing can go on")
        mark.with_suffix(".done").write_text(name)
        return None

    outcome = Outcome()
    pieces = [(str(n), (str(n), str(tmp_path))) for n in range(6)]
    import ray

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        spread(work, pieces, 2, "pieces", outcome, Silent(), LOCAL_RAY)
        assert sorted(outcome.done) == ["0", "1", "2", "4", "5"] and outcome.failed == {"3": "unusable"}
        assert sorted(path.stem for path in tmp_path.glob("*.done")) == sorted(outcome.done)
        with pytest.raises(InputError, match="nothing can go on"):
            spread(work, [("stop", ("stop", str(tmp_path)))], 2, "pieces", outcome, Silent(), LOCAL_RAY)
    finally:
        ray.shutdown()

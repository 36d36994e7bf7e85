"""How much quicker one commit or release is than another, by ratio, in one run.

    python benchmarks/compare_commits.py v0.1.0 HEAD
    python benchmarks/compare_commits.py HEAD~1 . --repeats 5 --only still

Each side is a tag, a commit, or a folder that holds the repository. The same commands run by turns on both sides with
this Python and its packages, so that what else the machine does falls on both alike; what is told is the ratio of
medians. Processor seconds beside the clock's say how much of a difference is waiting.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "src" / "mien" / "demo"
PORTRAIT = str(DEMO / "portrait_1.png")
_MAIN = "from mien.cli.app import main; main()"
WORKLOADS = {
    "version": ["--version"],
    "help": ["animate", "--help"],
    "still": ["animate", "-s", PORTRAIT, "-d", str(DEMO / "portrait_2.png"), "-o", "OUT.png", "--device", "cpu"],
    "clip": ["animate", "-s", PORTRAIT, "-d", str(DEMO / "driver.mp4"), "-o", "OUT.mp4", "--device", "cpu"],
}


def tree_of(name: str, stack: ExitStack) -> Path:
    """A folder with the sources of one side; one that is checked out for it goes with the run."""
    if Path(name).is_dir():
        return Path(name).resolve()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mien-compare-"))) / "tree"
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--detach", "--quiet", str(folder), name], check=True)
    stack.callback(subprocess.run, [*git, "remove", "--force", str(folder)], check=True)
    return folder


def measured(tree: Path, arguments: list[str]) -> tuple[float, float]:
    """Seconds by the clock and of the processors that a command takes with the sources of a tree."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory(prefix="mien-compare-") as folder:
        given = [one.replace("OUT", f"{folder}/out") for one in arguments]
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _MAIN, *given],
            env={**os.environ, "PYTHONPATH": str(tree / "src")},
            capture_output=True,
            text=True,
        )
        clock = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"{tree}: mien {' '.join(arguments)} failed: {done.stderr.strip()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """The script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=list(WORKLOADS), action="append", help="repeat it for several")
    given = parser.parse_args()
    print("| command | before | after | ratio | processor before | after | ratio |\n|---|---|---|---|---|---|---|")
    with ExitStack() as stack:
        trees = [tree_of(given.before, stack), tree_of(given.after, stack)]
        for name in given.only or WORKLOADS:
            runs = [[measured(tree, WORKLOADS[name]) for tree in trees] for _ in range(given.repeats)]
            cells = []
            for kind in (0, 1):
                old, new = (statistics.median(run[side][kind] for run in runs) for side in (0, 1))
                cells += [f"{old:.2f} s", f"{new:.2f} s", f"{new / old:.2f}"]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

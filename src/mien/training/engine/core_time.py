"""Processor time, of a process and of all that it started."""

from __future__ import annotations


def core_seconds(process: int | None = None) -> float:
    """Processor seconds of a process, of its children that have ended, and of those that are alive.

    Args:
        process: its number; None: this one. One that has ended has taken 0.
    """
    import psutil

    try:
        root = psutil.Process(process)
        spent = sum(root.cpu_times()[:4])  # user, system, and the same of children that have ended
        living = root.children(recursive=True)
    except psutil.NoSuchProcess:
        return 0.0
    for child in living:
        try:
            spent += sum(child.cpu_times()[:4])
        except psutil.NoSuchProcess:  # has just ended: it is counted with its parent the next time
            continue
    return float(spent)

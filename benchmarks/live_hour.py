"""Memory, rate and latency of `mien live` over an hour, as the page is told them.

    python benchmarks/live_hour.py [--minutes 60] [--rate 2.5]

`mien live` runs as a process of its own with the bundled model and the demo's portrait; this script takes the place of
the browser: it sends the demo's driving video, forth and back, as the frames of a camera, and reads the pictures that
come. A line a minute: resident memory of the process, pictures a second, milliseconds from a frame to its picture, and
processor milliseconds of the process for each picture, which say whether it gets slower even where the machine has
other work. Exits with 1 if memory grows more than 64 MiB an hour, or the processor's time for a picture by more than
a tenth, by the lines through all minutes but the first five.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from websockets.sync.client import ClientConnection, connect

from mien.media import open_clip

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "src" / "mien" / "demo"
FRAME = 1  # first byte of a message with a frame, see mien.web.live_stream, which would bring gradio in here
SETTLED = 5  # minutes after which all buffers have been made
MOST_GROWTH, MOST_DRIFT = 64.0, 0.1  # MiB an hour; of a picture's processor time


@dataclass
class Minute:
    """What one minute showed: milliseconds of each picture, and how the process stood at its end."""

    latencies: list[float] = field(default_factory=list)
    resident: float = 0.0  # MiB
    cost: float = 0.0  # processor milliseconds a picture


def process_state(pid: int) -> tuple[float, float]:
    """Resident memory in MiB and processor seconds so far."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    ticks = int(fields[11]) + int(fields[12])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, ticks / os.sysconf("SC_CLK_TCK")


def camera() -> Iterator[bytes]:
    """The demo's driving video forth and back without an end, as JPEG."""
    frames = [cv2.imencode(".jpg", frame[..., ::-1])[1].tobytes() for frame in open_clip(DEMO / "driver.mp4")]
    return itertools.cycle([*frames, *frames[-2:0:-1]])


def watched(socket: ClientConnection, pid: int, minutes: int, rate: float) -> Iterator[Minute]:
    """Send so many frames a second; gives every minute when it is over."""
    frames, sent, number = camera(), dict[int, float](), 0
    begun = due = time.monotonic()
    _, used = process_state(pid)
    for index in range(minutes):
        minute = Minute()
        while time.monotonic() < begun + 60 * (index + 1):
            if time.monotonic() >= due:
                number, due = number + 1, max(due + 1 / rate, time.monotonic())
                sent[number] = time.monotonic()
                socket.send(struct.pack(">BI", FRAME, number) + next(frames))
            try:
                message = socket.recv(timeout=max(0.0, due - time.monotonic()))
            except TimeoutError:
                continue
            if isinstance(message, bytes):
                came = struct.unpack(">I", message[:4])[0]
                if came in sent:
                    minute.latencies.append(1000 * (time.monotonic() - sent[came]))
                sent = {one: when for one, when in sent.items() if one > came}
        minute.resident, now = process_state(pid)
        minute.cost, used = 1000 * (now - used) / max(1, len(minute.latencies)), now
        yield minute


def grown(values: list[float]) -> tuple[float, float]:
    """The slope an hour and the mean of the line through values of one minute each."""
    return float(np.polyfit(np.arange(len(values)), values, 1)[0]) * 60, statistics.mean(values)


def told(minutes: list[Minute]) -> int:
    """Print what the settled minutes say; 1: something grows."""
    settled = minutes[SETTLED:] if len(minutes) > SETTLED + 1 else minutes
    if len(settled) < 2:
        return 0
    memory, _ = grown([one.resident for one in settled])
    cost, mean_cost = grown([one.cost for one in settled])
    rate, mean_rate = grown([len(one.latencies) / 60 for one in settled])
    hours = len(settled) / 60
    print(f"memory {memory:+.1f} MiB an hour; rate {mean_rate:.2f}, {rate * hours:+.3f} from end to end;")
    print(f"a picture {mean_cost:.0f} ms of the processor, {cost * hours / mean_cost:+.1%} from end to end")
    return int(memory > MOST_GROWTH or cost * hours / mean_cost > MOST_DRIFT)


def main() -> int:
    """The script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--rate", type=float, default=2.5, help="frames of the camera a second")
    given = parser.parse_args()
    words = ["live", "-s", str(DEMO / "portrait_1.png"), "-p", "0", "--no-browser", "--device", "cpu"]
    command = [sys.executable, "-c", "from mien.cli.app import main; main()", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip().replace("http", "ws") + "stream"
        minutes = []
        print("minute  MiB  pictures/s  latency ms, median and 95 %  processor ms a picture")
        with connect(address, open_timeout=300, max_size=None) as socket:
            while isinstance(socket.recv(timeout=300), str):  # until the portrait has come
                pass
            for minute in watched(socket, process.pid, given.minutes, given.rate):
                minutes.append(minute)
                middle, late = np.percentile(minute.latencies or [0.0], (50, 95))
                rate = len(minute.latencies) / 60
                numbers = f"{minute.resident:7.1f} {rate:5.2f} {middle:6.0f} {late:6.0f} {minute.cost:6.0f}"
                print(f"{len(minutes):3} {numbers}", flush=True)
        process.send_signal(signal.SIGTERM)
        left = process.wait(timeout=120)
        print(f"the process ended with {left}")
        return told(minutes) or left
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())

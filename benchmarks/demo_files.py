"""The demo's driving videos: avatars of AI-made pictures. One smiles, winks, crosses their eyes and is surprised.

    python benchmarks/demo_files.py CAST PERSON [-o src/mien/demo/driver.mp4] [--side 384]
    python benchmarks/demo_files.py CAST PERSON --pose -o src/mien/demo/pose.mp4

CAST is a folder of `mien data avatar`, PERSON one of its people. With --pose the head alone moves, for DeX-Portrait.
All of the motion is written down here.
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import numpy as np

RATE, FRAMES, QUALITY = Fraction(25), 75, 20
_BREATH = 0.002  # of the side, as people are never quite still
# at which frame: yaw, pitch, roll (degrees), and expressions by name
Moments = tuple[tuple[int, tuple[float, float, float], dict[str, float]], ...]
MOMENTS: Moments = (
    (0, (0, 0, 0), {}),
    (4, (0, 0, 0), {}),
    (12, (12, -2, 3), {"mouthSmile": 0.8, "mouthUpperUp": 0.6, "mouthLowerDown": 0.4, "cheekSquint": 0.5}),
    (19, (-11, 2, -3), {"mouthSmile": 0.8, "mouthUpperUp": 0.6, "mouthLowerDown": 0.4, "cheekSquint": 0.5}),
    (25, (-8, 2, -4), {"mouthSmile": 0.2}),
    (29, (-4, 0, -5), {"eyeBlink_L": 1, "eyeSquint_L": 0.6, "mouthSmile_L": 0.6, "cheekSquint_L": 0.6}),
    (33, (-4, 0, -5), {"eyeBlink_L": 1, "eyeSquint_L": 0.6, "mouthSmile_L": 0.6, "cheekSquint_L": 0.6}),
    (37, (0, 0, 0), {}),
    (43, (2, 3, 0), {"eyeLookIn": 1, "browInnerUp": 0.5, "jawOpen": 0.2}),
    (49, (2, 3, 0), {"eyeLookIn": 1, "browInnerUp": 0.5, "jawOpen": 0.2}),
    (53, (2, 0, 0), {"eyeBlink": 1}),
    (58, (0, -5, 2), {"jawOpen": 0.5, "browInnerUp": 0.9, "browOuterUp": 0.9, "eyeWide": 0.7}),
    (63, (4, -4, 2), {"jawOpen": 0.5, "browInnerUp": 0.9, "browOuterUp": 0.9, "eyeWide": 0.7}),
    (70, (0, 0, 0), {"mouthSmile": 0.4}),
    (74, (0, 0, 0), {"mouthSmile": 0.2}),
)
POSES: Moments = (
    (0, (0, 0, 0), {}),
    (14, (-18, 2, -3), {}),
    (32, (18, -3, 4), {}),
    (44, (4, -9, 0), {}),
    (54, (0, 8, 0), {}),
    (64, (-6, 0, 10), {}),
    (74, (0, 0, 0), {}),
)


def main() -> None:
    """Render it."""
    from mien.avatars.camera import HeadMotion
    from mien.avatars.cast import load_member
    from mien.avatars.head_model import load_head_model
    from mien.geometry.smooth import smooth_step
    from mien.media import VideoWriter

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cast", type=Path)
    parser.add_argument("person")
    parser.add_argument("-o", "--output", type=Path, default=Path("src/mien/demo/driver.mp4"))
    parser.add_argument("--side", type=int, default=384)
    parser.add_argument("--pose", action="store_true", help="the head alone moves")
    arguments = parser.parse_args()
    moments = POSES if arguments.pose else MOMENTS
    model = load_head_model()
    actor = load_member(arguments.cast / f"{arguments.person}.safetensors").avatar(model)
    times = np.array([moment[0] for moment in moments])
    angles = np.array([moment[1] for moment in moments], float)
    faces = np.array([model.coefficients(**moment[2]) for moment in moments])
    size = (arguments.side, arguments.side)
    with VideoWriter(arguments.output, rate=RATE, size=size, timestamps=False, quality=QUALITY) as video:
        for frame in range(FRAMES):
            first = min(int(np.searchsorted(times, frame, "right")) - 1, len(times) - 2)
            share = float(smooth_step(np.asarray((frame - times[first]) / (times[first + 1] - times[first]))))
            yaw, pitch, roll = (1 - share) * angles[first] + share * angles[first + 1]
            face = ((1 - share) * faces[first] + share * faces[first + 1]).astype(np.float32)
            drift = (0.0, float(_BREATH * np.sin(frame / 12)))
            video.write(actor.render(face, HeadMotion(yaw, pitch, roll, drift), arguments.side).image)


if __name__ == "__main__":
    main()

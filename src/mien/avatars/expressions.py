"""Expressions and poses made up: single moments, the named expressions, and talking, blinking, looking tracks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mien.avatars.camera import Floats
from mien.avatars.head_model import HeadModel
from mien.geometry.smooth import smooth_step

Random = np.random.Generator

# Named expressions by their coefficients; a name without its side sets both.
NAMED: dict[str, dict[str, float]] = {
    "neutral": {},
    "blink left": {"eyeBlink_L": 1, "eyeSquint_L": 0.5, "cheekSquint_L": 0.4},
    "blink right": {"eyeBlink_R": 1, "eyeSquint_R": 0.5, "cheekSquint_R": 0.4},
    "blink both": {"eyeBlink": 1},
    "eyes half closed": {"eyeBlink": 0.5},
    "eyes wide": {"eyeWide": 1, "browInnerUp": 0.5},
    "squint": {"eyeSquint": 1, "cheekSquint": 0.6},
    "look left": {"eyeLookOut_L": 1, "eyeLookIn_R": 1},
    "look right": {"eyeLookIn_L": 1, "eyeLookOut_R": 1},
    "look up": {"eyeLookUp": 1},
    "look down": {"eyeLookDown": 1},
    "crossed eyes": {"eyeLookIn": 1},
    "brows up": {"browInnerUp": 1, "browOuterUp": 1},
    "brow up left": {"browOuterUp_L": 1, "browInnerUp_L": 0.5},
    "brow up right": {"browOuterUp_R": 1, "browInnerUp_R": 0.5},
    "worried brows": {"browInnerUp": 1, "browDown": 0.3},
    "frown brows": {"browDown": 1},
    "mouth open": {"jawOpen": 0.6},
    "mouth wide open": {"jawOpen": 1, "mouthStretch": 0.3},
    "scream": {"jawOpen": 1, "eyeSquint": 0.7, "mouthUpperUp": 0.6, "mouthLowerDown": 0.6, "browDown": 0.5},
    "smile": {"mouthSmile": 0.8, "cheekSquint": 0.4},
    "smile left": {"mouthSmile_L": 1, "mouthDimple_L": 0.5},
    "smile right": {"mouthSmile_R": 1, "mouthDimple_R": 0.5},
    "laugh": {"mouthSmile": 1, "jawOpen": 0.45, "mouthUpperUp": 0.4, "cheekSquint": 0.8, "eyeSquint": 0.5},
    "teeth": {"mouthUpperUp": 0.8, "mouthLowerDown": 0.8, "mouthStretch": 0.5},
    "sad": {"mouthFrown": 1, "browInnerUp": 0.7, "mouthShrugLower": 0.4},
    "pout": {"mouthPucker": 0.7, "mouthShrugLower": 0.8},
    "kiss": {"mouthPucker": 1, "mouthFunnel": 0.2},
    "o": {"mouthFunnel": 0.9, "jawOpen": 0.35},
    "mouth left": {"mouthLeft": 1},
    "mouth right": {"mouthRight": 1},
    "jaw left": {"jawLeft": 1, "jawOpen": 0.15},
    "jaw right": {"jawRight": 1, "jawOpen": 0.15},
    "jaw forward": {"jawForward": 1},
    "cheek puff": {"cheekPuff": 1, "mouthPucker": 0.3},
    "cheek puff left": {"cheekPuff_L": 1, "mouthPucker": 0.2},
    "cheek puff right": {"cheekPuff_R": 1, "mouthPucker": 0.2},
    "lips rolled in": {"mouthRollLower": 0.9, "mouthRollUpper": 0.9},
    "lower lip bitten": {"mouthRollLower": 1, "jawOpen": 0.1},
    "lips pressed": {"mouthPress": 1},
    "nose wrinkled": {"noseSneer": 1, "mouthUpperUp": 0.5},
    "disgust": {"noseSneer": 1, "mouthUpperUp_L": 0.8, "browDown": 0.7, "eyeSquint": 0.6},
    "surprise": {"jawOpen": 0.7, "browInnerUp": 1, "browOuterUp": 1, "eyeWide": 1},
}


def named(model: HeadModel, name: str) -> Floats:
    """One of the NAMED expressions, [57]. KeyError for another name."""
    return model.coefficients(**NAMED[name])


def set_gaze(model: HeadModel, expression: Floats, left: float, up: float) -> None:
    """Let both eyes look to the subject's left and up, each in [-1, 1]; changes the expression [57] in place."""
    amounts = {"eyeLookOut_L": left, "eyeLookIn_R": left, "eyeLookIn_L": -left, "eyeLookOut_R": -left}
    amounts |= {f"eyeLook{way}_{side}": sign * up for way, sign in (("Up", 1), ("Down", -1)) for side in "LR"}
    for name, amount in amounts.items():
        expression[model.index(name)] = max(amount, 0.0)


def random_expression(model: HeadModel, rng: Random) -> Floats:
    """Any expression [57]: an open mouth in a third, a blink in a third, one thing the mouth does, brows, gaze."""
    face = model.coefficients()
    kind = rng.random()
    jaw = rng.uniform(0.4, 0.95) if kind < 0.38 else rng.uniform(0.05, 0.4) if kind < 0.65 else rng.uniform(0, 0.05)
    face[model.index("jawOpen")] = jaw
    if rng.random() < 0.15:
        face[model.index("jawLeft" if rng.random() < 0.5 else "jawRight")] = rng.uniform(0.1, 0.6)
    _random_mouth(_Setter(model, face, rng), rng)
    brows = rng.random()
    put = _Setter(model, face, rng)
    if brows < 0.25:
        put("browInnerUp", rng.uniform(0.3, 1), 0.05)
        put("browOuterUp", rng.uniform(0.2, 1), 0.15)
    elif brows < 0.45:
        put("browDown", rng.uniform(0.3, 1), 0.1)
    if rng.random() < 0.12:
        put("noseSneer", rng.uniform(0.3, 0.9), 0.15)
    wide = 1 if rng.random() < 0.6 else 0.25
    set_gaze(model, face, rng.uniform(-1, 1) * wide, rng.uniform(-0.8, 0.8) * wide)
    random_blink(model, face, rng, both=0.33, single=0.06, wide=0.15)
    return np.clip(face, 0, 1)


class _Setter:
    """Sets both sides of a shape, a little unevenly."""

    def __init__(self, model: HeadModel, face: Floats, rng: Random) -> None:
        self.model, self.face, self.rng = model, face, rng

    def __call__(self, name: str, amount: float, uneven: float = 0.1) -> None:
        for side in "LR":
            value = amount * (1 + uneven * self.rng.normal())
            self.face[self.model.index(f"{name}_{side}")] = np.clip(value, 0, 1)

    def one(self, name: str, amount: float) -> None:
        self.face[self.model.index(name)] = amount

    def jaw(self, factor: float) -> None:
        self.face[self.model.index("jawOpen")] *= factor


def _smile(put: _Setter, v: float, rng: Random) -> None:
    put("mouthSmile", v, 0.12)
    put("cheekSquint", v * 0.5, 0.2)
    put("mouthUpperUp", rng.uniform(0, 0.4))
    put("mouthDimple", rng.uniform(0, 0.4))


def _pucker(put: _Setter, v: float, rng: Random) -> None:
    put.one("mouthPucker", v)
    put.jaw(0.4)


def _funnel(put: _Setter, v: float, rng: Random) -> None:
    put.one("mouthFunnel", v * 0.8)


def _frown(put: _Setter, v: float, rng: Random) -> None:
    put("mouthFrown", v)
    put.one("mouthShrugLower", rng.uniform(0, 0.6))


def _stretch(put: _Setter, v: float, rng: Random) -> None:
    put("mouthStretch", v * 0.8)
    put("mouthLowerDown", rng.uniform(0, 0.6))


def _roll(put: _Setter, v: float, rng: Random) -> None:
    put.one("mouthRollLower", v * 0.7)
    put.one("mouthRollUpper", v * 0.6)
    put.jaw(0.15)


def _side(put: _Setter, v: float, rng: Random) -> None:
    put.one("mouthLeft" if rng.random() < 0.5 else "mouthRight", v * 0.9)


def _puff(put: _Setter, v: float, rng: Random) -> None:
    put("cheekPuff", v, 0.05)
    put.one("mouthPucker", 0.3)
    put.jaw(0)


def _upper(put: _Setter, v: float, rng: Random) -> None:
    put("mouthUpperUp", v * 0.8, 0.15)
    put("noseSneer", v * 0.7, 0.15)


def _press(put: _Setter, v: float, rng: Random) -> None:
    put("mouthPress", v)
    put.jaw(0)


_MOUTHS: tuple[tuple[float, Callable[[_Setter, float, Random], None] | None], ...] = (
    (0.20, None),
    (0.22, _smile),
    (0.12, _pucker),
    (0.09, _funnel),
    (0.09, _frown),
    (0.09, _stretch),
    (0.06, _roll),
    (0.05, _side),
    (0.05, _puff),
    (0.02, _press),
    (0.01, _upper),
)


def _random_mouth(put: _Setter, rng: Random) -> None:
    chances = np.array([chance for chance, _ in _MOUTHS])
    chosen = _MOUTHS[int(rng.choice(len(_MOUTHS), p=chances / chances.sum()))][1]
    amount = rng.uniform(0.35, 1)
    if chosen is not None:
        chosen(put, float(amount), rng)


def random_blink(model: HeadModel, face: Floats, rng: Random, both: float, single: float, wide: float = 0.0) -> None:
    """Close both eyes, one eye, or widen them (and in a tenth half close them), in place.

    The chances are `both`, `single` and `wide`.
    """
    kind = rng.random()
    put = _Setter(model, face, rng)
    if kind < both:
        put("eyeBlink", rng.uniform(0.88, 1), 0)
        set_gaze(model, face, 0, -0.1)
    elif kind < both + single:
        side = "L" if rng.random() < 0.5 else "R"
        put("eyeBlink", 0.1, 0)
        put.one(f"eyeBlink_{side}", 1)
        put.one(f"eyeSquint_{side}", 0.5)
    elif kind < both + single + 0.1:
        put("eyeBlink", rng.uniform(0.2, 0.6), 0.05)
    elif kind < both + single + 0.1 + wide:
        put("eyeWide", rng.uniform(0.3, 1), 0.05)


def random_distinct_expression(model: HeadModel, rng: Random) -> Floats:
    """An expression [57] that landmarks tell badly, over a weak random one.

    One eye shut, crossed or averted eyes, one brow, bared teeth with a closed jaw, a mouth drawn to one side, lips
    drawn in, a cheek, the tongue: what clips of talking people seldom show.
    """
    face = random_expression(model, rng) * rng.uniform(0, 0.5)
    put, side = _Setter(model, face, rng), "LR"[int(rng.integers(2))]
    chosen = _DISTINCT[int(rng.integers(len(_DISTINCT)))]
    chosen(put, side, float(rng.uniform(0.6, 1)), rng)
    if rng.random() < 0.3 and chosen not in _AT_EYES:
        _AT_EYES[int(rng.integers(len(_AT_EYES)))](put, "LR"[int(rng.integers(2))], float(rng.uniform(0.6, 1)), rng)
    return np.clip(face, 0, 1)


def _wink(put: _Setter, side: str, v: float, rng: Random) -> None:
    put("eyeBlink", rng.uniform(0, 0.15), 0)
    put.one(f"eyeBlink_{side}", rng.uniform(0.85, 1))
    put.one(f"eyeSquint_{side}", v * 0.6)
    put.one(f"cheekSquint_{side}", v * rng.uniform(0, 0.6))


def _lids(put: _Setter, side: str, v: float, rng: Random) -> None:
    put.one("eyeBlink_L", rng.uniform(0, 1))
    put.one("eyeBlink_R", rng.uniform(0, 1))


def _crossed(put: _Setter, side: str, v: float, rng: Random) -> None:
    set_gaze(put.model, put.face, 0, rng.uniform(-0.4, 0.3))
    put("eyeLookIn", v, 0.1)
    put("eyeBlink", rng.uniform(0, 0.2), 0)


def _averted(put: _Setter, side: str, v: float, rng: Random) -> None:
    angle = rng.uniform(0, 2 * np.pi)
    set_gaze(put.model, put.face, float(v * np.cos(angle)), float(v * np.sin(angle)))
    put("eyeBlink", rng.uniform(0, 0.2), 0)


def _one_brow(put: _Setter, side: str, v: float, rng: Random) -> None:
    put("browDown", 0, 0)
    put.one(f"browOuterUp_{side}", v)
    put.one(f"browInnerUp_{side}", v * rng.uniform(0.2, 0.8))
    if rng.random() < 0.5:
        put.one(f"browDown_{'R' if side == 'L' else 'L'}", v * rng.uniform(0.3, 1))


def _bared(put: _Setter, side: str, v: float, rng: Random) -> None:
    put.one("jawOpen", rng.uniform(0, 0.08))
    put("mouthUpperUp", v, 0.1)
    put("mouthLowerDown", v * rng.uniform(0.5, 1), 0.1)
    put("mouthStretch", v * rng.uniform(0, 0.7), 0.1)
    put("mouthSmile", rng.uniform(0, 0.7), 0.1)


def _sneer(put: _Setter, side: str, v: float, rng: Random) -> None:
    put.one(f"noseSneer_{side}", v)
    put.one(f"mouthUpperUp_{side}", v * rng.uniform(0.4, 1))


def _half_smile(put: _Setter, side: str, v: float, rng: Random) -> None:
    put("mouthSmile", 0, 0)
    put.one(f"mouthSmile_{side}", v)
    put.one(f"mouthDimple_{side}", v * rng.uniform(0, 0.6))
    put.one(f"cheekSquint_{side}", v * rng.uniform(0, 0.5))


def _to_side(put: _Setter, side: str, v: float, rng: Random) -> None:
    way = "Left" if side == "L" else "Right"
    put.one(f"mouth{way}", v)
    put.one(f"jaw{way}", v * rng.uniform(0, 0.6))


def _jaw_to_side(put: _Setter, side: str, v: float, rng: Random) -> None:
    put.one("jawLeft" if side == "L" else "jawRight", v)
    put.one("jawOpen", rng.uniform(0, 0.4))


def _drawn_in(put: _Setter, side: str, v: float, rng: Random) -> None:
    put.one("mouthRollLower", v * rng.uniform(0.5, 1))
    put.one("mouthRollUpper", v * rng.uniform(0.3, 1))
    put.one("jawOpen", rng.uniform(0, 0.1))


def _one_cheek(put: _Setter, side: str, v: float, rng: Random) -> None:
    put.one(f"cheekPuff_{side}", v)
    put.one(f"cheekPuff_{'R' if side == 'L' else 'L'}", v * float(rng.random() < 0.5))
    put.one("mouthPucker", rng.uniform(0, 0.4))
    put.one("jawOpen", 0)


def _tongue(put: _Setter, side: str, v: float, rng: Random) -> None:
    put.one("tongueOut", v)
    put.one("jawOpen", rng.uniform(0.12, 0.5))
    put.one("mouthClose", 0)
    put.one("mouthPucker", 0)
    put.one("mouthRollLower", 0)


_AT_EYES = (_wink, _lids, _crossed, _averted)
_DISTINCT = (
    *(_wink, _wink, _lids, _crossed, _averted, _averted, _one_brow, _one_brow, _bared, _bared, _sneer),
    *(_half_smile, _to_side, _jaw_to_side, _drawn_in, _one_cheek, _tongue),
)


def random_angles(rng: Random, widest: float = 25.0) -> NDArray[np.float64]:
    """Yaw, pitch, roll in degrees [3]: mostly near the front; yaw within +-widest, the others within +-15."""
    turned = rng.normal() * 0.4 * widest if rng.random() < 0.8 else rng.uniform(-widest, widest)
    drawn = np.array([turned, rng.normal() * 6.5, rng.normal() * 6])
    return np.clip(drawn, [-widest, -15, -15], [widest, 15, 15])


def random_place(rng: Random) -> NDArray[np.float64]:
    """Shift x and y (parts of the side) and scale [3], so that the head stays in the picture."""
    scale = rng.uniform(0.9, 1.1)
    room = 1 - max(scale - 1, 0) * 4
    return np.array([rng.uniform(-0.06, 0.06) * room, rng.uniform(-0.05, 0.05) * room, scale])


def talking(model: HeadModel, rng: Random, frames: int, rate: float = 25.0) -> Floats:
    """Somebody talks, changes mood, looks about and blinks.

    Args:
        model: of the head.
        rng: draws all.
        frames: how many.
        rate: frames a second.

    Returns:
        Expressions [frames, 57] in [0, 1].
    """
    from scipy.ndimage import gaussian_filter1d

    knots = np.linspace(0, frames - 1, max(2, round(frames / rate / 0.2)))
    moods = np.array([random_expression(model, rng) for _ in knots])
    own = [model.index(name) for name in ("eyeBlink_L", "eyeBlink_R", "jawOpen")]
    moods[:, own] = 0
    moods *= rng.uniform(0.35, 1.0)
    time = np.arange(frames)
    track = np.stack([np.interp(time, knots, column) for column in moods.T], 1)
    track = np.clip(gaussian_filter1d(track, 1.0, axis=0), 0, 1)
    syllable = rng.uniform(0.22, 0.36) * rate  # frames
    swing = 1 + np.sin(
        2 * np.pi * time / syllable + rng.uniform(0, 6) + 1.2 * np.sin(2 * np.pi * time / (4 * syllable))
    )
    jaw = np.clip(rng.uniform(0.2, 0.45) * swing, 0, 1) * (track[:, model.index("mouthPucker")] < 0.5)
    track[:, own[2]] = gaussian_filter1d(jaw, 0.7)
    for start in _blink_times(rng, frames, rate):
        for step, amount in zip(range(start - 2, start + 3), (0.4, 0.9, 1.0, 0.6, 0.2), strict=True):
            if 0 <= step < frames:
                track[step, own[:2]] = amount
    return track.astype(np.float32)


def _blink_times(rng: Random, frames: int, rate: float) -> list[int]:
    times, at = [], rng.uniform(0.1, 0.6) * rate
    while at < frames:
        times.append(int(at))
        at += rng.uniform(1.0, 4.0) * rate
    return times


def through(model: HeadModel, names: list[str], frames_each: int) -> Floats:
    """Expressions [n * frames_each, 57] that go to each of n NAMED ones and back."""
    up = smooth_step(np.linspace(0, 1, frames_each // 3))
    hold = np.ones(frames_each - 2 * len(up))
    envelope = np.concatenate([up, hold, up[::-1]])
    return np.concatenate([envelope[:, None] * named(model, name) for name in names]).astype(np.float32)

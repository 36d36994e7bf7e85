"""Figures that papers print, by table, method, protocol and metric, with their source.

Facts; their data and weights are not ours.
"""

from __future__ import annotations

from dataclasses import dataclass

Cell = tuple[str, str]  # protocol, and the column's key


@dataclass(frozen=True)
class Published:
    """A row of a paper's table.

    Attributes:
        method: as the paper names it.
        values: what it prints.
        inapplicable: cells it prints as N/A.
    """

    method: str
    values: dict[Cell, float]
    inapplicable: tuple[Cell, ...] = ()


@dataclass(frozen=True)
class Source:
    """Where figures stand.

    Attributes:
        paper: its name, authors, year and number.
        table: which of its tables.
        read_in: where they were read, and what is not known of it.
    """

    paper: str
    table: str
    read_in: str

    def __str__(self) -> str:
        return f"{self.paper}, {self.table}; read in {self.read_in}"


@dataclass(frozen=True)
class PaperTable:
    """A table of a paper. baseline: the row that the others are ablations of, "" where it has none."""

    source: Source
    rows: tuple[Published, ...]
    baseline: str = ""

    def difference(self, method: str, baseline: str, cell: Cell) -> float | None:
        """By how much a method's figure is above a baseline's, at the precision that is printed; None: not known."""
        found = {row.method: row.values.get(cell) for row in self.rows}
        first, second = found.get(method), found.get(baseline)
        return None if first is None or second is None else round(first - second, 6)


def _x_portrait(method: str, *numbers: float) -> Published:
    self_keys = [("self", key) for key in ("l1", "ssim", "lpips", "fid")]
    cross_keys = [("cross", key) for key in ("identity", "quality", "aed", "pose")]
    return Published(method, dict(zip([*self_keys, *cross_keys], numbers, strict=True)))


def _ablation(method: str, *numbers: float) -> Published:
    keys = [("cross", key) for key in ("identity", "aed", "pose")]
    return Published(method, dict(zip(keys, numbers, strict=True)))


def _dex_ablation(method: str, *numbers: float) -> Published:
    keys = [(protocol, key) for protocol in ("cross", "disentangled") for key in ("identity", "aed", "apd")]
    return Published(method, dict(zip(keys, numbers, strict=True)))


_DISENTANGLED = tuple(("disentangled", key) for key in ("identity", "aed", "apd"))

_X_PORTRAIT = "X-Portrait (Xie et al. 2024, arXiv 2403.15931)"
_X_READ = "the text of the paper"  # which gives FID 51.091 for MCNet and for FADM alike
_DEX = "DeX-Portrait (Shi et al. 2026)"
_DEX_READ = "published reviews of the paper; cells that none of them quotes are unknown"

TABLE1 = PaperTable(
    Source(_X_PORTRAIT, "Table 1", _X_READ),
    (
        _x_portrait("Face Vid2vid", 0.042, 0.770, 0.203, 52.071, 0.615, 36.222, 0.100, 4.72),
        _x_portrait("DaGAN", 0.054, 0.732, 0.234, 64.297, 0.280, 35.537, 0.111, 5.10),
        _x_portrait("TPS", 0.038, 0.801, 0.179, 50.636, 0.508, 34.904, 0.079, 3.94),
        _x_portrait("MCNet", 0.035, 0.811, 0.176, 51.091, 0.343, 34.624, 0.094, 3.82),
        _x_portrait("FADM", 0.049, 0.727, 0.231, 51.091, 0.635, 34.640, 0.103, 4.62),
        _x_portrait("MagicDance", 0.045, 0.766, 0.172, 30.383, 0.643, 67.241, 0.099, 7.04),
        _x_portrait("Face Vid2vid Plus", 0.034, 0.825, 0.144, 26.386, 0.625, 42.478, 0.071, 3.44),
        _x_portrait("X-Portrait", 0.033, 0.829, 0.133, 14.553, 0.689, 67.569, 0.070, 3.37),
    ),
)

TABLE2 = PaperTable(
    Source(_X_PORTRAIT, "Table 2", _X_READ),
    (
        _ablation("(a) w/o cross-id training", 0.015, 0.037, 1.58),
        _ablation("(b) w/o local control", 0.731, 0.077, 3.69),
        _ablation("(c) w/o scaling", 0.658, 0.070, 3.26),
        _ablation("full model", 0.689, 0.070, 3.37),
    ),
    "full model",
)

DEX_TABLE1 = PaperTable(
    Source(_DEX, "Table 1", _DEX_READ),
    (
        Published(
            "LivePortrait",
            {("disentangled", "identity"): 0.458, ("disentangled", "aed"): 0.0695, ("disentangled", "apd"): 0.195},
        ),
        Published("HelloMeme", {("cross", "apd"): 0.173}),
        Published("X-NeMo", {("cross", "aed"): 0.0518, ("cross", "apd"): 0.551}, _DISENTANGLED),
        Published("HunyuanPortrait", {}, _DISENTANGLED),
        Published(
            "Wan-Animate",
            {("self", "psnr"): 27.970, ("self", "ssim"): 0.865, ("self", "lpips"): 0.098, ("cross", "identity"): 0.551},
            _DISENTANGLED,
        ),
        Published(
            "DeX-Portrait",
            {
                ("self", "psnr"): 28.590,
                ("self", "ssim"): 0.862,
                ("self", "lpips"): 0.088,
                ("cross", "identity"): 0.623,
                ("cross", "aed"): 0.0515,
                ("cross", "apd"): 0.145,
                ("disentangled", "identity"): 0.631,
                ("disentangled", "aed"): 0.0546,
                ("disentangled", "apd"): 0.100,
            },
        ),
    ),
)

DEX_TABLE2 = PaperTable(
    Source(_DEX, "Table 2", _DEX_READ),
    (
        _dex_ablation("w/o ray map", 0.609, 0.0506, 0.162, 0.609, 0.0542, 0.105),
        _dex_ablation("w/o warping", 0.619, 0.0507, 0.166, 0.631, 0.0573, 0.121),
        _dex_ablation("w/o augmentation", 0.619, 0.0583, 0.283, 0.629, 0.0634, 0.168),
        _dex_ablation("full", 0.623, 0.0515, 0.145, 0.631, 0.0546, 0.100),
    ),
    "full",
)

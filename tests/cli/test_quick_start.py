"""What a command imports: only that decides how long its start takes, so no clock is read here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mien.jobs.demo import FOLDER

# half of the start and more, where they are installed: none of them animates anything
EXTRAS = (
    *("transformers", "peft", "accelerate", "scipy", "torch._dynamo", "sympy", "gradio"),
    *("mien.training.engine.trainer", "mien.training.data", "mien.avatars"),
    *("diffusers.models.transformers", "diffusers.models.transformers.transformer_flux"),
)
_RUN = """
import sys
from mien.cli.app import app
code = app({arguments!r}, standalone_mode=False)
print(code, sorted(set({names!r}) & set(sys.modules)))
"""


def _after(arguments: list[str], names: tuple[str, ...]) -> str:
    """The last line of a process that runs a command: its exit code and which of the modules it has imported."""
    script = _RUN.format(arguments=arguments, names=names)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["animate", "--help"], ["edit", "--help"]])
def test_help_brings_in_no_networks_and_no_video(arguments: list[str]) -> None:
    heavy = ("torch", "diffusers", "av", "cv2", "PIL", "gradio", "numpy", "mien.cli.progress")
    assert _after(arguments, heavy).endswith("[]")


def test_animating_brings_in_nothing_that_it_does_not_use(tmp_path: Path) -> None:
    picture, output = str(FOLDER / "portrait_1.png"), tmp_path / "out.png"
    given = ["animate", "-s", picture, "-d", picture, "-o", str(output), "--device", "cpu"]
    assert _after(given, (*EXTRAS, "diffusers")).endswith("['diffusers']")
    assert output.is_file()


def test_what_was_left_out_can_be_imported_afterwards() -> None:
    script = (
        "import importlib.metadata, sys, torch\n"
        "before = torch.compiler.disable, importlib.metadata.packages_distributions\n"
        "from mien.cli.quick_start import import_diffusers\n"
        "import_diffusers()\n"
        "assert before == (torch.compiler.disable, importlib.metadata.packages_distributions)\n"
        "assert None not in sys.modules.values()\n"
        "from diffusers import AutoencoderKL, Transformer2DModel\n"
        "from diffusers.models import autoencoders, transformers\n"
        "assert autoencoders.AutoencoderKL is AutoencoderKL and autoencoders.AutoencoderDC\n"
        "assert transformers.Transformer2DModel is Transformer2DModel\n"
        "import torch._dynamo\n"
        "print(torch.compile(lambda x: x + 1, backend='eager')(torch.zeros(1)).item())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "1.0\n"


def test_where_diffusers_cannot_do_without_it_is_imported_whole() -> None:
    script = (
        "import sys\n"
        "from mien.cli import quick_start\n"
        "quick_start._LEFT_OUT = ('numpy.linalg', 'huggingface_hub')\n"  # which diffusers does need
        "quick_start.import_diffusers()\n"
        "import diffusers\n"
        "print(diffusers.AutoencoderKL.__name__, None in sys.modules.values())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "AutoencoderKL False\n"

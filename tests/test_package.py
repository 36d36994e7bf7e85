from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import mien


@pytest.mark.parametrize("name", mien.__all__)
def test_every_public_name_can_be_loaded(name: str) -> None:
    assert getattr(mien, name) is not None
    assert name in dir(mien)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        mien.nonsense  # noqa: B018


def test_importing_mien_is_quick() -> None:
    script = "import sys, mien; print(sorted({'torch', 'diffusers', 'av', 'cv2'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_types_are_announced() -> None:
    assert (Path(mien.__file__).parent / "py.typed").is_file()

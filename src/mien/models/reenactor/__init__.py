"""The nano size's 𝓕: a small one-pass reenactor on landmarks, whose result X-Portrait nano starts from."""

from mien.models.reenactor.config import ReenactorConfig
from mien.models.reenactor.reenactor import Reenactor, Rendered

__all__ = ["Reenactor", "ReenactorConfig", "Rendered"]

"""What the web UI says of itself: models and licences, limits, responsible use, from the texts the project keeps."""

from __future__ import annotations

import re
from pathlib import Path

from mien.version import __version__
from mien.web.options import ServeOptions
from mien.weights import HERE

_TEXTS = Path(__file__).resolve().parent / "texts"  # where the built package has them
_DOCS = Path(__file__).resolve().parents[3] / "docs"  # where the repository has them
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\s*", re.DOTALL)  # what hubs read of a card


def about_sections(options: ServeOptions) -> dict[str, str]:
    """Title and Markdown of each section, in the order they are shown."""
    responsible, _, rest = _document("responsible-use.md").partition("\n## Limits\n")
    limits = rest.partition("\n## Where a result comes from\n")[0]
    return {
        "This page": _this_page(options),
        "Responsible use": responsible,
        "Limits": limits or "See docs/responsible-use.md of the project.",
        **{f"Model card: {name}": card for name, card in _cards().items()},
    }


def _this_page(options: ServeOptions) -> str:
    dex = options.dex_model or ("nano" if (HERE / "dex_portrait_nano").is_dir() else "no weights in this installation")
    return (
        f"Mien {__version__}, Apache-2.0. X-Portrait: {Path(options.model).name}. DeX-Portrait: {Path(dex).name}."
        "\n\nThe bundled weights are ours, those of the face networks Google's, all under the same licence; other"
        " weights come under their owners' terms."
        f"\n\n- Files: up to {options.file_mb} MB; driving videos: up to {options.clip_seconds} seconds."
        f"\n- Jobs: one at a time, {options.queued} may wait, each may take {options.job_seconds} seconds."
        f"\n- Uploads and results lie in one folder of this server, are deleted after {options.keep_minutes} minutes,"
        " and all of them when the web UI is stopped. Nothing is sent anywhere else."
    )


def _document(name: str) -> str:
    """A page of the documentation without its title, links to other pages as their words."""
    for folder in (_TEXTS, _DOCS):
        if (folder / name).is_file():
            return _plain((folder / name).read_text(encoding="utf-8"))
    return f"See docs/{name} of the project."


def _cards() -> dict[str, str]:
    cards = {}
    for path in sorted(HERE.glob("*/README.md")):
        text = _FRONT_MATTER.sub("", path.read_text(encoding="utf-8"))
        title = text.partition("\n")[0].lstrip("# ")
        cards[title] = _plain(text)
    return cards


def _plain(markdown: str) -> str:
    body = re.sub(r"\A# .*\n", "", markdown)
    return re.sub(r"!?\[([^\]]*)\]\((?!https?://)[^)]*\)", r"\1", body).strip()

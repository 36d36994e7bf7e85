"""The web UI as a hosted demo: a Space of the Hugging Face hub runs this file, which asks nothing but `mien[web]`.

A free machine has two cores: driving videos are short, few may wait, files go soon.
"""

from __future__ import annotations

from mien.web.options import ServeOptions
from mien.web.serve import Page, open_page

OPTIONS = ServeOptions(
    host="0.0.0.0",
    port=7860,
    file_mb=50,
    clip_seconds=10,
    pairs=4,
    queued=10,
    job_seconds=600,
    keep_minutes=20,
)


def main(options: ServeOptions = OPTIONS) -> Page:
    """Open the page; returns it, running."""
    return open_page(options)


if __name__ == "__main__":
    page = main()
    try:
        page.wait()
    finally:
        page.close()

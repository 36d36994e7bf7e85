"""Uploads the bundled models to a namespace of the Hugging Face hub, each as a repository of its own.

    python scripts/upload_models.py NAMESPACE --dry-run        # what would go, with sizes
    python scripts/upload_models.py NAMESPACE [--only nano]    # needs `hf auth login` or HF_TOKEN

Afterwards `XPortraitPipeline.from_pretrained("NAMESPACE/mien-x-portrait-nano")` and
`mien animate --model NAMESPACE/mien-x-portrait-nano` fetch it.
Of what is on the hub, only weights and configurations that the model no longer has are deleted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, ModelCard

from mien.errors import MienError, WeightsError
from mien.jobs.model_folder import examine_model
from mien.version import __version__
from mien.weights import FOLDERS, bundled

WANTED = ("license", "library_name", "pipeline_tag", "tags")  # of a card's front matter


@dataclass(frozen=True)
class Upload:
    """A folder, the repository it goes to, and its files below the folder."""

    folder: Path
    repository: str
    files: tuple[Path, ...]

    @property
    def megabytes(self) -> float:
        """Of all files together."""
        return sum((self.folder / file).stat().st_size for file in self.files) / 1e6


def planned(namespace: str, names: Sequence[str] = tuple(FOLDERS)) -> list[Upload]:
    """What goes where.

    Args:
        namespace: a user or an organisation of the hub.
        names: of bundled models, see `mien.weights`.

    Raises:
        WeightsError: a model is damaged, or its card lacks what the hub files it by.
    """
    uploads = []
    for name in names:
        folder = bundled(name)
        _check(folder)
        files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        kept = tuple(file for file in files if not any(part.startswith((".", "__")) for part in file.parts))
        uploads.append(Upload(folder, f"{namespace}/mien-{folder.name.replace('_', '-')}", kept))
    return uploads


def _check(folder: Path) -> None:
    try:
        told = ModelCard.load(folder / "README.md").data.to_dict()
    except (OSError, ValueError) as error:
        raise WeightsError(f"{folder / 'README.md'} cannot be read as a model card ({error}): repair it.") from error
    missing = [key for key in WANTED if not told.get(key)]
    if missing:
        raise WeightsError(f"{folder / 'README.md'} does not say {', '.join(missing)}: add it to its front matter.")
    if (folder / "model_index.json").is_file():
        faults = examine_model(folder).faults
        if faults:
            raise WeightsError(faults[0])


def upload(one: Upload, api: HfApi) -> str:
    """Upload a folder in one commit; returns its address."""
    api.create_repo(one.repository, repo_type="model", exist_ok=True)
    done = api.upload_folder(
        repo_id=one.repository,
        folder_path=one.folder,
        repo_type="model",
        allow_patterns=[file.as_posix() for file in one.files],
        delete_patterns=["*.safetensors", "*.json"],
        commit_message=f"Mien {__version__}",
    )
    return str(done)


def main(words: Sequence[str] | None = None, api: HfApi | None = None) -> int:
    """The program; returns its exit code. api: stands in for the hub's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("namespace", help="a user or an organisation of the hub")
    parser.add_argument("--only", action="append", choices=list(FOLDERS), help="this model alone; may be repeated")
    parser.add_argument("--dry-run", action="store_true", help="list what would go; ask no network")
    given = parser.parse_args(words)
    try:
        uploads = planned(given.namespace, given.only or tuple(FOLDERS))
    except MienError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for one in uploads:
        sys.stdout.write(f"{one.repository}: {len(one.files)} files, {one.megabytes:.1f} MB\n")
        if given.dry_run:
            sys.stdout.writelines(
                f"  {(one.folder / file).stat().st_size:>12,}  {file.as_posix()}\n" for file in one.files
            )
        else:
            sys.stdout.write(f"  {upload(one, api or HfApi())}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

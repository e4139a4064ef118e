"""Verifies the checksums of all files that the stages wrote."""

from pathlib import Path

from preprocessing.corpus.corpus import Corpus
from preprocessing.errors import DataError
from preprocessing.files import read_json
from preprocessing.shards import SampleDataset, read_manifest
from preprocessing.stage_directory import STAGE_NAME


def verify(directory: Path) -> str:
    """Checks a documents or samples directory, or all of them in an `--out` directory.

    Returns:
        The verified directories, as text.

    Raises:
        DataError: a checksum differs, or there is nothing to verify.
    """
    below = sorted(path for path in directory.iterdir() if path.is_dir()) if directory.is_dir() else []
    stages = [path for path in (directory, *below) if (path / STAGE_NAME).is_file()]
    checked = [line for stage in stages if (line := _verify_stage(stage))]
    if not checked:
        raise DataError(f"{directory}: holds no documents or samples directory; give the --out of an earlier run")
    return "\n".join(checked)


def _verify_stage(directory: Path) -> str:
    match read_json(directory / STAGE_NAME)["stage"]:
        case "extract":
            corpus = Corpus.open(directory)
            corpus.verify()
            return f"{directory}: {len(corpus.files)} files are whole"
        case "build":
            splits = [SampleDataset.open(directory, split) for split in read_manifest(directory).splits]
            for split in splits:
                split.verify()
            return f"{directory}: {sum(len(split.shards) for split in splits)} shards are whole"
    return ""

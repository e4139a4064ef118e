"""The nine tasks of GLUE in their original files (Wang et al. 2018, https://arxiv.org/abs/1804.07461).

The directory of the data is that of the task, such as `SST-2`, or the one that holds the directories of all tasks.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.tasks.splits import DEV, TRAIN, is_labelled
from pipeline.tasks.tables import Row, read_rows

Files = tuple[tuple[str, ...], ...]
"""Alternatives for the files of a split, the preferred one first; the files of one alternative follow each other."""
_SPLITS: Mapping[str, Files] = {"train": (("train.tsv",),), "dev": (("dev.tsv",),), "test": (("test.tsv",),)}


@dataclass(frozen=True)
class GlueTask:
    """The files of a task, their columns, and what is measured."""

    directory: str
    """Name of the task's directory and, with the ending .tsv, of the file with its predictions for the test split."""
    texts: tuple[str, ...]
    """Columns of the text, or of the two texts of a pair."""
    labels: tuple[str, ...]
    """Values of the label in the order of the classes; empty: the label is a number."""
    metrics: tuple[str, ...] = ("accuracy",)
    """Names of the metrics (`pipeline.tasks.metrics`); the first one chooses the best epoch."""
    scores: tuple[str, ...] = ()
    """Metrics whose mean is the task's score in GLUE's average; empty: all of them."""
    label: str = "label"
    """Column of the label."""
    splits: Mapping[str, Files] = field(default_factory=lambda: _SPLITS)
    """Files of each split; `pipeline.tasks.splits.is_labelled` says which have labels."""
    submissions: Mapping[str, str] = field(default_factory=dict)
    """Split without labels -> file with its predictions, where it is not the `directory`'s name."""
    columns: tuple[str, ...] = ()
    """Columns of the splits with labels if their files have no header."""
    skip_malformed: bool = False
    """Whether lines with another number of columns than the header are left out."""


_SENTENCES = ("sentence1", "sentence2")
GLUE: Mapping[str, GlueTask] = {
    "cola": GlueTask(
        "CoLA",
        ("sentence",),
        ("0", "1"),
        ("matthews", "accuracy"),
        scores=("matthews",),
        columns=("source", "label", "mark", "sentence"),
        splits={
            "train": (("train.tsv",), ("raw/in_domain_train.tsv",)),
            "dev": (("dev.tsv",), ("raw/in_domain_dev.tsv", "raw/out_of_domain_dev.tsv")),
            "test": (("test.tsv",),),
        },
    ),
    "sst2": GlueTask("SST-2", ("sentence",), ("0", "1")),
    "mrpc": GlueTask(
        "MRPC",
        ("#1 String", "#2 String"),
        ("0", "1"),
        ("accuracy", "f1"),
        label="Quality",
        splits={
            "train": (("train.tsv",), ("msr_paraphrase_train.txt",)),
            # The corpus without GLUE's division into train and dev: its test split has labels.
            "dev": (("dev.tsv",), ("msr_paraphrase_test.txt",)),
            "test": (("test.tsv",),),
        },
    ),
    "stsb": GlueTask("STS-B", _SENTENCES, (), ("pearson", "spearman"), label="score"),
    "qqp": GlueTask(
        "QQP", ("question1", "question2"), ("0", "1"), ("accuracy", "f1"), label="is_duplicate", skip_malformed=True
    ),
    "mnli": GlueTask(
        "MNLI",
        _SENTENCES,
        ("contradiction", "entailment", "neutral"),
        label="gold_label",
        splits={
            "train": (("train.tsv",),),
            "dev": (("dev_matched.tsv",),),
            "dev_mismatched": (("dev_mismatched.tsv",),),
            "test": (("test_matched.tsv",),),
            "test_mismatched": (("test_mismatched.tsv",),),
            "test_diagnostic": (("diagnostic.tsv",), ("../diagnostic/diagnostic.tsv",)),
        },
        submissions={"test": "MNLI-m.tsv", "test_mismatched": "MNLI-mm.tsv", "test_diagnostic": "AX.tsv"},
    ),
    "qnli": GlueTask("QNLI", ("question", "sentence"), ("entailment", "not_entailment")),
    "rte": GlueTask("RTE", _SENTENCES, ("entailment", "not_entailment")),
    "wnli": GlueTask("WNLI", _SENTENCES, ("0", "1")),
}
"""The tasks by the name that the command line uses."""


def submission_file(task: GlueTask, split: str) -> str:
    """Return the name of the file with the predictions for a split without labels, as the GLUE server expects it."""
    return task.submissions.get(split, f"{task.directory}.tsv")


def score(name: str, results: Mapping[str, Mapping[str, float]]) -> float:
    """Return the score of a task in GLUE's average: the mean of its metrics, of MNLI over both of its dev splits.

    Args:
        name: a key of GLUE.
        results: split with labels -> metrics.
    """
    task = GLUE[name]
    values = [metrics[metric] for metrics in results.values() for metric in task.scores or task.metrics]
    return sum(values) / len(values)


def tasks_below(data: Path) -> list[str]:
    """Return the tasks whose directories are below a directory, in the order of GLUE.

    Raises:
        ValueError: there is none, or one lacks the files of train or dev.
    """
    found = [name for name, task in GLUE.items() if (data / task.directory).is_dir()]
    if not found:
        wanted = ", ".join(task.directory for task in GLUE.values())
        raise ValueError(f"data = {data}: has none of the directories {wanted}; give the directory of GLUE")
    for name in found:
        files_of(GLUE[name], data)
    return found


def files_of(task: GlueTask, data: Path) -> dict[str, list[Path]]:
    """Return the files of each split that is there.

    Args:
        task: the task.
        data: directory of the task, or the one that holds the directories of all tasks.

    Raises:
        ValueError: the files of train or dev are missing.
    """
    directory = data / task.directory if (data / task.directory).is_dir() else data
    found: dict[str, list[Path]] = {}
    for split, alternatives in task.splits.items():
        paths = next((files for names in alternatives if (files := _all_there(directory, names))), None)
        if paths is not None:
            found[split] = paths
        elif split in (TRAIN, DEV):
            wanted = " or ".join(" and ".join(names) for names in alternatives)
            raise ValueError(f"{directory}: has no {wanted}; give the directory of {task.directory} of GLUE as data")
    return found


def read_splits(task: GlueTask, data: Path) -> dict[str, list[Row]]:
    """Return the rows of each split whose files are there.

    Args:
        task: the task.
        data: as for `files_of`.

    Raises:
        ValueError: the files of train or dev are missing, or a file is not in the format of the task.
    """
    return {
        split: [
            row
            for path in paths
            for row in read_rows(path, task.columns if is_labelled(split) else (), task.skip_malformed)
        ]
        for split, paths in files_of(task, data).items()
    }


def _all_there(directory: Path, names: Iterable[str]) -> list[Path] | None:
    paths = [directory / name for name in names]
    return paths if all(path.is_file() for path in paths) else None

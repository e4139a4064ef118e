"""The runs of a sweep: rates and seeds, tasks of GLUE, what is refused."""

from pathlib import Path

import pytest
from finetuning_data import write_sst2, write_tsv

from pipeline.jobs.finetuning.cells import Sweep, parse_runs
from pipeline.jobs.finetuning.recipe import FinetuningRecipe, SweepConfig


def parsed(task, out, *options, data="data"):
    """Return what a command line requests."""
    return parse_runs([task, "--model", "nowhere", "--data", str(data), "--out", str(out), *options])


def test_without_rates_and_seeds_there_is_one_run(tmp_path):
    """A command line without a sweep is a recipe; one rate alone is a sweep of one run."""
    assert isinstance(parsed("sst2", tmp_path / "run"), FinetuningRecipe)
    one = parsed("sst2", tmp_path / "run", "--sweep.rates", "[3e-4]")
    assert [cell.recipe.optimizer.lr for cell in one.cells] == [3e-4]


def test_each_rate_with_each_seed(tmp_path):
    """Runs differ in rate, seed and directory alone, and `only` chooses one by its number."""
    sweep = parsed("sst2", tmp_path, "--sweep.rates", "[1e-4,3e-05]", "--sweep.seeds", "2", "--seed", "5")
    assert isinstance(sweep, Sweep) and not sweep.is_glue
    found = [(cell.number, cell.recipe.optimizer.lr, cell.recipe.seed, cell.recipe.run.name) for cell in sweep.cells]
    assert found == [
        (1, 1e-4, 5, "lr-0.0001-seed-5"),
        (2, 1e-4, 6, "lr-0.0001-seed-6"),
        (3, 3e-5, 5, "lr-3e-05-seed-5"),
        (4, 3e-5, 6, "lr-3e-05-seed-6"),
    ]
    assert all(cell.recipe.sweep == SweepConfig() and cell.directory == tmp_path for cell in sweep.cells)
    only = parsed("sst2", tmp_path, "--sweep.rates", "[1e-4,3e-05]", "--sweep.seeds", "2", "--sweep.only", "3")
    assert [cell.number for cell in only.chosen] == [3] and len(only.cells) == 4


def test_all_tasks_of_glue_that_are_there(tmp_path):
    """Each task has a directory, and its published rate if none is named."""
    data = write_sst2(tmp_path / "glue")
    for split in ("train", "dev"):
        write_tsv(data / "RTE" / f"{split}.tsv", ("sentence1", "sentence2", "label"), [("a", "b", "entailment")])
    sweep = parsed("glue", tmp_path / "out", data=data)
    assert sweep.is_glue and sweep.out == tmp_path / "out"
    assert [(cell.recipe.task, cell.directory) for cell in sweep.cells] == [
        ("sst2", tmp_path / "out" / "sst2"),
        ("rte", tmp_path / "out" / "rte"),
    ]
    assert sweep.cells[1].recipe.run == Path(tmp_path / "out" / "rte" / "lr-2e-05-seed-1")
    (data / "RTE" / "dev.tsv").unlink()
    with pytest.raises(ValueError, match=r"RTE: has no dev.tsv; give the directory of RTE of GLUE as data"):
        parsed("glue", tmp_path / "out", data=data)


def test_a_directory_without_tasks_of_glue_is_an_error(tmp_path):
    """The error names the directories that are looked for."""
    with pytest.raises(ValueError, match="has none of the directories CoLA, SST-2, "):
        parsed("glue", tmp_path / "out", data=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sweep.rates", "[1e-4]", "--sweep.only", "2"], "sweep.only = 2: must be at most 1, the number of runs"),
        (["--sweep.only", "1"], "sweep.only = 1: has no effect on one run; give sweep.rates or sweep.seeds"),
        (["--sweep.remove_others", "true"], "sweep.remove_others = True: has no effect on one run"),
        (["--sweep.rates", "[1e-4,1e-4]"], r"sweep.rates = \[0.0001, 0.0001\]: must be above 0 and different"),
        (["--sweep.rates", "[0]"], "must be above 0 and different; correct 0"),
        (["--sweep.seeds", "0"], "sweep.seeds = 0: must be at least 1"),
        (["--sweep.only", "-1"], "sweep.only = -1: must be at least 0"),
    ],
)
def test_wrong_sweeps(tmp_path, options, message):
    """A sweep that is not possible is one error."""
    with pytest.raises(Exception, match=message):
        parsed("sst2", tmp_path, *options)


def test_the_directory_of_a_run_is_refused(tmp_path):
    """A sweep does not write into the directory of a run."""
    (tmp_path / "recipe.toml").touch()
    with pytest.raises(ValueError, match="is the directory of a run; give the sweep another one"):
        parsed("sst2", tmp_path, "--sweep.seeds", "2")

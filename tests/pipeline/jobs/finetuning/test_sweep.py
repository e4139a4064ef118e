"""A sweep from its command line to its table: what is repeated, what is kept, and runs that diverge."""

import signal

import pytest
from finetuning_data import options, read_json, write_model, write_sst2

from pipeline.finetune import finetune
from pipeline.jobs.finetuning import run
from pipeline.jobs.finetuning.loop import Loop
from pipeline.runtime.signals import InterruptedRunError

RATES = ["--sweep.rates", "[1e-3,5e-3]", "--sweep.seeds", "2"]
NAMES = [f"lr-{rate}-seed-{seed}" for rate in (0.001, 0.005) for seed in (1, 2)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return the directories of a model and of its examples."""
    folder = tmp_path_factory.mktemp("sweep")
    return write_model(folder / "model"), write_sst2(folder / "glue", test=1)


@pytest.fixture
def trained(monkeypatch):
    """The directories of the runs that are trained, in order."""
    names, train = [], run.train
    monkeypatch.setattr(run, "train", lambda recipe, *rest: names.append(recipe.run.name) or train(recipe, *rest))
    return names


def sweep(files, out, *more, task="sst2", rates=RATES):
    """Run a sweep of one epoch."""
    finetune([task, *options(*files, out, training__epochs=1), *rates, *more])


def test_a_sweep_that_is_interrupted_goes_on_where_it_was(files, tmp_path, trained, monkeypatch, capsys):
    """Finished runs are not repeated, the interrupted one continues, and the table has all."""
    train_step = Loop.train_step

    def interrupted(loop):
        train_step(loop)
        if loop.recipe.run.name == NAMES[1] and loop.state.step == 2:
            loop.signals.received = signal.SIGTERM

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "train_step", interrupted)
        with pytest.raises(InterruptedRunError):
            sweep(files, tmp_path)
    assert trained == NAMES[:2] and not (tmp_path / "sweep.md").exists()
    trained.clear()
    sweep(files, tmp_path, "--sweep.remove_others", "true")
    assert trained == NAMES[1:]
    table = (tmp_path / "sweep.md").read_text()
    assert table in capsys.readouterr().out and table.count("| 2 | 0 | accuracy |") == 2
    found = read_json(tmp_path / "sweep.json")
    assert [each["directory"] for each in found["runs"]] == [str(tmp_path / name) for name in NAMES]
    best = tmp_path / found["best"]["sst2"]
    weights = "model/model.safetensors"
    assert (tmp_path / weights).read_bytes() == (best / weights).read_bytes()
    assert [name for name in NAMES if (tmp_path / name / "model").exists()] == [best.name]
    sweep(files, tmp_path)
    assert trained == NAMES[1:]
    with pytest.raises(ValueError, match="is a run with another recipe"):
        sweep(files, tmp_path, "--training.batch_size", "4")


def test_jobs_of_an_array_do_one_run_each(files, tmp_path, trained, capsys):
    """The job that ends last writes the table, whatever the order."""
    seeds = ["--sweep.seeds", "2"]
    sweep(files, tmp_path, "--sweep.only", "2", rates=seeds)
    assert "1 of 2 runs have not ended" in capsys.readouterr().out and not (tmp_path / "model").exists()
    sweep(files, tmp_path, "--sweep.only", "1", rates=seeds)
    assert trained == ["lr-0.005-seed-2", "lr-0.005-seed-1"]
    assert "| sst2 | 0.005 | 2 | 0 |" in (tmp_path / "sweep.md").read_text() and (tmp_path / "model").is_dir()


def test_a_run_that_diverges_is_recorded_and_not_repeated(files, tmp_path, trained, monkeypatch):
    """The other runs go on, and the best model is one of theirs."""
    update = Loop._update

    def diverging(loop):
        if loop.recipe.optimizer.lr == 5e-3:
            raise FloatingPointError("the gradient is NaN or infinite")
        update(loop)

    monkeypatch.setattr(Loop, "_update", diverging)
    rates = ["--sweep.rates", "[5e-3,1e-3]"]
    sweep(files, tmp_path, rates=rates)
    sweep(files, tmp_path, rates=rates)
    assert trained == ["lr-0.005-seed-1", "lr-0.001-seed-1"]
    assert "| sst2 | 0.005 | 1 | 1 | accuracy | none |" in (tmp_path / "sweep.md").read_text()
    assert read_json(tmp_path / "sweep.json")["best"] == {"sst2": str(tmp_path / "lr-0.001-seed-1")}


def test_all_tasks_of_glue(files, tmp_path):
    """The tasks that are there have their directories, and the table states GLUE's average."""
    sweep(files, tmp_path, task="glue", rates=[])
    assert (tmp_path / "sst2" / "model" / "config.json").is_file()
    assert "| average of 1 tasks |" in (tmp_path / "sweep.md").read_text()


def test_a_run_of_a_version_without_sweeps_is_the_same_run(files, tmp_path, capsys):
    """A finished run whose recipe lacks the section of sweeps is found again."""
    sweep(files, tmp_path / "run", rates=[])
    path = tmp_path / "run" / "recipe.toml"
    older, _, _ = path.read_text().partition("[sweep]")
    assert older != path.read_text()
    path.write_text(older)
    sweep(files, tmp_path / "run", rates=[])
    assert "has finished" in capsys.readouterr().out

"""Laws of slurm/submit.sh, whose dry run needs no Slurm."""

import os
import shlex
import subprocess
import sys

import pytest
from ranks import ROOT


def submit(*options, **site):
    """Return the status, the jobs as (options of sbatch by name, script and its arguments), and standard error of a dry
    run.
    """
    unset = {name: value for name, value in os.environ.items() if not name.startswith("SITE_")}
    environment = unset | {"SITE_VENV": sys.prefix} | site
    command = ["slurm/submit.sh", "--dry-run", *options]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    return done.returncode, [job(line) for line in done.stdout.splitlines()], done.stderr


def job(line):
    """Return the options and the command of a printed line; of an option that is given twice, the last one counts, as
    for sbatch.
    """
    words = shlex.split(line)
    assert words[:2] == ["sbatch", "--parsable"]
    words, options = words[2:], {}
    while words[0].startswith("--"):
        with_value = len(words) > 1 and not words[1].startswith("--") and "=" not in words[0]
        options[words[0]] = words[1] if with_value else ""
        words = words[1 + with_value :]
    return options, words


def test_sizes_signal_and_dependencies_of_the_chain():
    """Each job of the chain has its size and signal, and depends on the one before it."""
    site = {"SITE_ACCOUNT": "lab", "SITE_SAVE_SECONDS": "120"}
    options = ["--nodes", "16", "--time", "1-0", "--data", "run --out data --sources file:x"]
    status, ((data, command), (first, phase1), (second, _), (_, export)), _ = submit(*options, **site)
    assert status == 0 and data["--account"] == "lab"
    assert command == ["slurm/preprocess.sbatch", "run", "--out", "data", "--sources", "file:x"]
    sizes = {"--nodes": "16", "--ntasks-per-node": "8", "--gpus-per-node": "8", "--cpus-per-task": "4"}
    assert first.items() >= (sizes | {"--time": "1-0", "--signal": "B:USR1@120"}).items()
    assert phase1 == ["slurm/pretrain.sbatch", "pipeline/recipes/bert_large_phase1.toml"]
    assert second["--dependency"] == "afterok:$bert_large_phase1" and second["--kill-on-invalid-dep"] == "yes"
    assert export == ["slurm/convert.sbatch", "runs/bert_large_phase2", "models/bert_large_phase2"]


def test_jobs_without_a_gpu_have_a_partition_of_their_own():
    """Preprocessing and export have SITE_DATA_PARTITION or, without it, the partition of all jobs."""
    options = ["--data", "run --out data"]
    for site, expected in (
        ({"SITE_PARTITION": "gpu", "SITE_DATA_PARTITION": "cpu"}, ["cpu", "gpu", "gpu", "cpu"]),
        ({"SITE_PARTITION": "all"}, ["all"] * 4),
        ({"SITE_DATA_PARTITION": "cpu"}, ["cpu", None, None, "cpu"]),
    ):
        assert [found.get("--partition") for found, _ in submit(*options, **site)[1]] == expected


def test_cores_of_a_rank_and_of_a_preprocessing_task():
    """A rank and a task of preprocessing have as many cores as they use, and options for one kind of job do not affect
    others.
    """
    kinds = [*("--data", "run --out data"), *("--sbatch", "--qos long")]
    kinds += [*("--train-sbatch", "--cpus-per-task 12 --comment 'two words'"), "--data-sbatch=--exclusive"]

    def cores(*options, **site):
        return [found.get("--cpus-per-task") for found, _ in submit(*options, **site)[1]]

    assert cores(*kinds[:2]) == ["1", "4", "4", "4"]
    assert cores(*kinds[:2], SITE_CPUS_PER_RANK="16") == ["1", "16", "16", "16"]
    assert cores(*kinds[:2], SITE_CPUS_PER_RANK="") == ["1", None, None, None]
    assert cores(*kinds) == ["1", "12", "12", "4"]
    jobs = [found for found, _ in submit(*kinds)[1]]
    assert [found["--qos"] for found in jobs] == ["long"] * 4
    assert [found.get("--comment") for found in jobs] == [None, "two words", "two words", None]
    assert ["--exclusive" in found for found in jobs] == [True, False, False, True]


def test_gpus_of_a_type():
    """With a type of GPU, there are as many ranks as GPUs."""
    (_, _), (phase1, _), *_ = submit("--gpus-per-node", "a100:4", "--data", "run")[1]
    assert phase1["--gpus-per-node"] == "a100:4" and phase1["--ntasks-per-node"] == "4"


def test_a_fine_tuning_follows_the_export():
    """Options of sbatch stand before the script; a job behind an array waits for all of its tasks."""
    array = "--gpus=1 --array=1-9 slurm/finetune.sbatch rte --sweep.rates '[1e-4, 3e-4]' --sweep.only {task}"
    *_, (first, command), (second, plain) = submit("--then", array, "--then", "slurm/convert.sbatch a b")[1]
    assert first["--dependency"] == "afterok:$export" and {"--gpus=1", "--array=1-9"} <= first.keys()
    arguments = ["rte", "--sweep.rates", "[1e-4, 3e-4]", "--sweep.only", "{task}"]
    assert command == ["slurm/finetune.sbatch", *arguments]
    assert second["--dependency"] == "afterok:$finetune" and "--gpus=1" not in second
    assert plain == ["slurm/convert.sbatch", "a", "b"]
    *_, (phase2, _), (alone, _) = submit("--no-export", "--then", array)[1]
    assert alone["--dependency"] == "afterok:$bert_large_phase2" and phase2["--dependency"]


def test_values_after_an_equals_sign_and_words_in_quotes():
    """Values after an equals sign, and quoted words, are read as in a shell."""
    data = """--data=run --sources "file:my books" jsonl:it\\'s --out=data"""
    (_, command), (phase1, _), *_ = submit("--nodes=3", data)[1]
    assert command == ["slurm/preprocess.sbatch", "run", "--sources", "file:my books", "jsonl:it's", "--out=data"]
    assert phase1["--nodes"] == "3"


@pytest.mark.parametrize(
    ("text", "options", "run"),
    [
        ("run_dir = 'runs/a'  # ours", "", "runs/a"),
        ('run_dir="runs/a"', "--seed 3", "runs/a"),
        ('"run_dir" = """runs/a"""', "", "runs/a"),
        (r'run_dir = "runs/\"a\" b\\c"', "", 'runs/"a" b\\c'),
        ("run_dir = 'runs/a'\n[data]\nrun_dir = 'runs/b'", "", "runs/a"),
        ("run_dir = 'runs/a'", "--run_dir runs/b", "runs/b"),
        ("run_dir = 'runs/a'", "--run_dir='runs/b c'", "runs/b c"),
        ("[data]\nsamples = 'x'", "--run_dir runs/b", "runs/b"),
    ],
)
def test_the_exported_run_is_the_recipes(tmp_path, text, options, run):
    """The exported run is the recipe's run_dir, in any form of TOML, or that of an option which overrides it."""
    recipe = tmp_path / "my recipe.toml"
    recipe.write_text(text)
    _, jobs, errors = submit("--recipe", f"'{recipe}' {options}")
    assert jobs[-1][1][:2] == ["slurm/convert.sbatch", run], errors


WRONG = {
    "error: nowhere.toml: no such file in": ["--recipe", "nowhere.toml"],
    "error: fine-tune.sh: no such file in": ["--then", "fine-tune.sh x"],
    "error: --then --gpus=1: names no script": ["--then", "--gpus=1"],
    "error: --then x 'y: No closing quotation": ["--then", "x 'y"],
    "error: --nodes lacks its value": ["--nodes"],
    "error: --nodes many: must be a number": ["--nodes", "many"],
    "error: --gpus-per-node a100: must be a number, or TYPE:NUMBER": ["--gpus-per-node", "a100"],
    "error: no such option: --node": ["--node=4"],
    "error: recipe.toml is not an option": ["recipe.toml"],
    "error: slurm exists": ["--export", "slurm"],
    "error: --data-tasks 1: one rank hands out": ["--data-tasks", "1"],
    "error: --data run 'x: No closing quotation": ["--data", "run 'x"],
    "error: slurm/site.sh: Invalid statement": ["--recipe", "slurm/site.sh"],
    "error: ds_configs/zero2_fp32.json: ": ["--recipe", "ds_configs/zero2_fp32.json"],
}


@pytest.mark.parametrize("message", WRONG)
def test_what_is_wrong_is_named_before_anything_is_submitted(message):
    """Each mistake is a one-line error with status 2, and no job is printed."""
    status, jobs, errors = submit(*WRONG[message])
    assert (status, jobs) == (2, []) and errors.startswith(message) and errors.count("\n") == 1, errors


def test_a_recipe_without_a_run_cannot_be_exported(tmp_path):
    """A recipe without run_dir is an error unless the export is switched off."""
    recipe = tmp_path / "bare.toml"
    recipe.write_text("[data]\n")
    assert submit("--recipe", str(recipe))[2].startswith(f"error: {recipe} has no run_dir")
    assert submit("--recipe", str(recipe), "--no-export")[0] == 0
    recipe.write_text("[data]\nrun_dir = 'runs/a'")
    assert submit("--recipe", str(recipe))[2].startswith(f"error: {recipe} has no run_dir")


def test_a_run_dir_that_is_no_text_is_refused(tmp_path):
    """A run_dir that is no text, such as a section, is an error with the remedy."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[run_dir]\n")
    expected = f"error: {recipe}: run_dir = {{}}: must be text; write the directory in quotes\n"
    assert submit("--recipe", str(recipe))[::2] == (2, expected)


def test_cores_must_be_a_number():
    """A number of cores in the site's settings that is no number is a one-line error."""
    assert submit(SITE_CPUS_PER_RANK="many")[2] == "error: SITE_CPUS_PER_RANK many: must be a number\n"

"""slurm/submit.sh makes a Hugging Face model of text on two nodes, as a user calls it."""

import json
import os
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from jobs import SERIAL, command, content, finish
from recipes import write_recipe

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A corpus of 120 documents of made-up words."""
    random = Random(0)
    words = ["".join(random.choices("abcdefghij", k=random.randint(1, 8))) for _ in range(300)]
    sentences = [" ".join(random.choices(words, k=random.randint(3, 20))).capitalize() + "." for _ in range(1800)]
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    texts = (" ".join(sentences[start : start + 15]) for start in range(0, len(sentences), 15))
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def submitted(cluster, folder, *options):
    """Run submit.sh; return number and name of each job, in order."""
    logs = f"--output {folder}/%x.log"
    done = cluster.run("slurm/submit.sh", "--nodes", "2", "--gpus-per-node", "0", "--sbatch", logs, *options)
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def test_from_text_to_a_model(cluster, corpus, tmp_path):
    """Preprocessing under MPI, two phases on two nodes, the export and one more job run one after the other."""
    data = " ".join(command(corpus, tmp_path / "data"))
    first = write_recipe(tmp_path, tmp_path / "data" / "samples32", "first")
    second = write_recipe(tmp_path, tmp_path / "data" / "samples32", "second")
    after = tmp_path / "after.sh"
    after.write_text('#!/usr/bin/env bash\ntest -f "$1/config.json"\n')
    jobs = submitted(
        cluster,
        tmp_path,
        *("--data", data, "--data-nodes", "2", "--data-tasks", "2"),
        *("--recipe", str(first), "--recipe", f"{second} --init_from {tmp_path / 'first'}"),
        *("--export", str(tmp_path / "model"), "--then", f"{after} {tmp_path / 'model'}"),
    )
    assert [name for _, name in jobs] == ["preprocess", "first", "second", "export", "after"]
    ended = [cluster.wait(number) for number, _ in jobs]
    assert [job["JobState"] for job in ended] == ["COMPLETED"] * 5, [cluster.log(number) for number, _ in jobs]
    assert all(one["EndTime"] <= later["StartTime"] for one, later in pairwise(ended))
    assert ended[0]["NumNodes"] == ended[1]["NumNodes"] == "2"
    assert [job["CPUs/Task"] for job in ended[:4]] == ["1", "4", "4", "4"]
    assert "2 x cpu, global batch 24 = 2 x 4 x 3" in cluster.log(jobs[1][0])

    status, text = finish(command(corpus, tmp_path / "serial", *SERIAL))
    assert status == 0, text
    assert content(tmp_path / "data") == content(tmp_path / "serial")

    from transformers import AutoTokenizer, BertForPreTraining

    model, loading = BertForPreTraining.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    assert model.config.vocab_size == len(AutoTokenizer.from_pretrained(tmp_path / "model"))


def test_after_a_failure_nothing_runs(cluster, tmp_path):
    """After a missing corpus no later job starts, and none stays in the queue."""
    data = " ".join(command(tmp_path / "nowhere", tmp_path / "data"))
    path = write_recipe(tmp_path, tmp_path / "data" / "samples32")
    shape = ["--data-nodes", "2", "--data-tasks", "1", "--recipe", str(path), "--export", str(tmp_path / "model")]
    jobs = submitted(cluster, tmp_path, "--data", data, *shape)
    states = {name: cluster.wait(number)["JobState"] for number, name in jobs}
    assert states == {"preprocess": "FAILED", "run": "CANCELLED", "export": "CANCELLED"}
    assert not (tmp_path / "run").exists() and sorted(path.name for path in tmp_path.glob("*.log")) == [
        "preprocess.log"
    ]


def test_ranks_without_a_common_world_are_refused(cluster, corpus, tmp_path):
    """With `--mpi=none`, which starts N worlds of one rank each, the job ends with an error and writes nothing."""
    arguments = command(corpus, tmp_path / "data")
    number = cluster.submit("-N2", "--ntasks-per-node=2", "slurm/preprocess.sbatch", *arguments, SITE_MPI="none")
    assert cluster.wait(number)["JobState"] == "FAILED"
    assert "error: 4 ranks were started, but they form worlds of 1 that would each" in cluster.log(number)
    assert not (tmp_path / "data").exists()


def test_mpirun_starts_the_ranks_where_slurm_has_no_mpi(cluster, corpus, tmp_path):
    """With SITE_MPI=mpirun, the data has the same bytes as that of a serial run."""
    allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    shape = ["-N2", "--ntasks-per-node=2", "slurm/preprocess.sbatch"]
    arguments = command(corpus, tmp_path / "data")
    number = cluster.submit(*shape, *arguments, SITE_MPI="mpirun", **allowed)
    assert cluster.wait(number)["JobState"] == "COMPLETED", cluster.log(number)
    assert finish(command(corpus, tmp_path / "serial", *SERIAL))[0] == 0
    assert content(tmp_path / "data") == content(tmp_path / "serial")


def test_two_runs_of_an_array_at_once_on_the_same_nodes(cluster, corpus, tmp_path):
    """Two tasks of an array with a rank on both nodes each train at the same time without affecting each other."""
    assert finish(command(corpus, tmp_path / "data", *SERIAL))[0] == 0
    path = write_recipe(tmp_path, tmp_path / "data" / "samples32")
    options = ["--run_dir", str(tmp_path / "run-{task}"), "--seed", "{task}", "--schedule.total_steps", "40"]
    number = cluster.submit("--array=1-2", "--nodes=2", "slurm/pretrain.sbatch", str(path), *options)
    ended = [cluster.wait(f"{number}_{task}") for task in (1, 2)]
    assert [job["JobState"] for job in ended] == ["COMPLETED"] * 2, cluster.log(f"{number}_1")
    assert max(job["StartTime"] for job in ended) < min(job["EndTime"] for job in ended), "not at once"
    seeds = [(Path(tmp_path) / f"run-{task}" / "recipe.toml").read_text() for task in (1, 2)]
    assert ["seed = 1\n" in seeds[0], "seed = 2\n" in seeds[1]] == [True, True]


def test_what_is_missing_is_named_before_anything_is_submitted(cluster, tmp_path):
    """Each mistake is a one-line error with status 2, and no job is submitted."""
    (tmp_path / "there").mkdir()
    bare = tmp_path / "bare.toml"
    bare.write_text("[data]\n")
    cases = {
        "error: nowhere.toml: no such file in": ["--recipe", "nowhere.toml"],
        "error: fine-tune.sh: no such file in": ["--then", "fine-tune.sh x"],
        "error: --nodes lacks its value": ["--nodes"],
        "error: --nodes many: must be a number": ["--nodes", "many"],
        "error: no such option: --node": ["--node", "4"],
        "error: recipe.toml is not an option": ["recipe.toml"],
        f"error: {tmp_path}/there exists": ["--export", f"{tmp_path}/there"],
        f"error: {bare} has no run_dir": ["--recipe", str(bare)],
        "error: --data-tasks 1: one rank hands out": ["--data-tasks", "1"],
    }
    before = cluster.run("squeue", "-h", "-t", "all", "-o", "%i").stdout
    for message, options in cases.items():
        done = cluster.run("slurm/submit.sh", *options)
        assert done.returncode == 2 and done.stderr.startswith(message) and done.stderr.count("\n") == 1, done.stderr
    assert cluster.run("squeue", "-h", "-t", "all", "-o", "%i").stdout == before
    assert os.listdir(tmp_path / "there") == []

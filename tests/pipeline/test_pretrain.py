"""Laws 3, 4 and 5 hold for whole runs through the entry point, on real ranks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from killed_runs import runs
from ranks import ROOT, on_ranks
from recipes import SMALL, curve, tensors, write_recipe
from samples import make_samples

from pipeline.convert import convert
from pipeline.runlog.floors import floors_of
from pipeline.runlog.reader import METRICS, read_events, read_lines, read_run


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return make_samples(tmp_path_factory.mktemp("samples") / "samples")


TINY = SMALL | {"global_batch_size": 12, "total_steps": 4}
"""A small model for 4 steps whose batches up to three ranks can share."""
EVERY_SECOND = ("--checkpoint.every", "2", "--evaluation.every", "2")


def recipe_file(*args, **replacements):
    return str(write_recipe(*args, **replacements))


def assert_identical(one, other, step=4):
    first, second = tensors(one, step), tensors(other, step)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("precision", [pytest.param("fp32", marks=pytest.mark.slow), "bf16"])
def test_killed_and_resumed_run_is_the_run_that_was_not(tmp_path, samples, precision):
    """A killed and resumed run equals the undisturbed one bit for bit in weights, moments and metrics, with dropout
    (law 5).
    """
    whole, killed = (recipe_file(tmp_path, samples, name, **TINY) for name in ("whole", "killed"))
    options = ["--engine.precision", precision, *EVERY_SECOND]
    on_ranks(
        runs,
        2,
        [
            (["--recipe", whole, *options], None),
            (["--recipe", killed, *options], 3),
            (["--recipe", killed, *options], None),
        ],
    )
    assert_identical(tmp_path / "whole", tmp_path / "killed")
    assert curve(tmp_path / "whole") == curve(tmp_path / "killed")
    for key in ("loss", "mlm_order_gap"):
        assert curve(tmp_path / "whole", "heldout", key) == curve(tmp_path / "killed", "heldout", key)
    floors = [
        [event for event in read_events(tmp_path / name)[0] if event["kind"] == "floors"]
        for name in ("whole", "killed")
    ]
    assert [len(events) for events in floors] == [1, 1] and floors_of(floors[0]) == floors_of(floors[1])


def test_world_size_and_zero_stage_change_only_rounding(tmp_path, samples):
    """In fp32 with dropout, 1 rank at stage 0 and 3 ranks at stages 1 and 3 give the curve of 2 ranks at stage 2."""
    curves = {}
    for world_size, stages in ((2, (2,)), (1, (0,)), (3, (1, 3))):
        jobs = []
        for stage in stages:
            name = f"{world_size}x{stage}"
            path = recipe_file(tmp_path, samples, name, global_batch_size=12, micro_batch_size=2, total_steps=3)
            arguments = ["--recipe", path, "--engine.precision", "fp32"]
            if name == "3x1":  # recomputes the layers with the same dropout
                arguments += ["--model.activation_checkpointing", "true"]
            jobs.append(([*arguments, "--engine.deepspeed", f"ds_configs/zero{stage}_{{precision}}.json"], None))
            curves[name] = tmp_path / name
        on_ranks(runs, world_size, jobs)
    expected = curve(curves["2x2"])
    assert len(expected) == 3
    for run in curves.values():
        assert curve(run) == pytest.approx(expected, rel=1e-6)
        assert curve(run, "heldout") == pytest.approx(curve(curves["2x2"], "heldout"), rel=1e-6)
        gaps = curve(curves["2x2"], "heldout", "mlm_order_gap")
        assert curve(run, "heldout", "mlm_order_gap") == pytest.approx(gaps, abs=1e-5) and any(gaps)
        assert floors_of(read_events(run)[0]) == floors_of(read_events(curves["2x2"])[0]) is not None


def test_schedules_of_the_data_keep_the_laws(tmp_path, samples):
    """With changing mask rate, batch size and length, a resumed run equals the undisturbed one bit for bit, and 2 ranks
    equal 1.
    """
    shorter = make_samples(tmp_path / "shorter", train=64, heldout=2, max_seq_length=16, seed=1)
    options = ["--engine.precision", "fp32", "--evaluation.every", "0"]
    options += ["--masking.probability_start", "0.4", "--masking.mask_only_above", "0.2"]
    options += ["--batch.global_batch_size_start", "4", "--batch.scale_with_length", "true"]
    options += ["--data.earlier_samples", f'["{shorter}"]', "--data.until", "[0.6]"]
    sizes = SMALL | {"total_steps": 8}
    whole, killed, two = (recipe_file(tmp_path, samples, name, **sizes) for name in ("whole", "killed", "two"))
    jobs = [(whole, None), (killed, 5), (killed, None)]
    on_ranks(runs, 1, [(["--recipe", recipe, *options], last) for recipe, last in jobs])
    on_ranks(runs, 2, [(["--recipe", two, *options], None)])
    assert_identical(tmp_path / "whole", tmp_path / "killed", step=8)
    assert curve(tmp_path / "whole") == curve(tmp_path / "killed")
    assert curve(tmp_path / "two") == pytest.approx(curve(tmp_path / "whole"), rel=1e-6)
    lines = [line for line in read_lines(tmp_path / "whole" / METRICS)[0] if line["kind"] == "train"]
    assert [line["consumed_samples"] for line in lines] == [8, 16, 24, 32, 48, 56, 64, 72]


def test_bert_without_next_sentence_prediction(tmp_path, samples):
    """Without next sentence prediction, BERT trains on single segments and on pairs, reports masked tokens alone, and
    is exported as BertForMaskedLM.
    """
    single = make_samples(tmp_path / "segments", train=64, heldout=8, segments="full_sentences")
    jobs = [recipe_file(tmp_path, *each, **SMALL) for each in ((single, "single"), (samples, "pairs"))]
    options = ["--engine.precision", "fp32", "--model.next_sentence", "false", "--masking.probability_start", "0.4"]
    on_ranks(runs, 1, [(["--recipe", recipe, *options], None) for recipe in jobs])
    for name in ("single", "pairs"):
        lines = [line for line in read_lines(tmp_path / name / METRICS)[0] if line["kind"] in ("train", "heldout")]
        assert all(line["loss"] == line["mlm_loss"] and "nsp_loss" not in line for line in lines)
        assert [term.name for term in read_run(tmp_path / name, name).terms] == ["mlm"]
    convert(["export", str(tmp_path / "single"), str(tmp_path / "model")])
    assert json.loads((tmp_path / "model" / "config.json").read_text())["architectures"] == ["BertForMaskedLM"]
    convert(["import", str(tmp_path / "model"), str(tmp_path / "imported")])
    assert json.loads((tmp_path / "imported" / "state.json").read_text())["model"]["next_sentence"] is False


def test_kernels_train_as_plain_torch_does(tmp_path, samples):
    """Without dropout, Triton kernels at stages 0 and 3 and recomputed activations give plain torch's curve."""
    ways = {
        "plain": (0, []),
        "recompute": (3, ["--model.recompute_activation", "true"]),
        "triton": (3, ["--model.kernels", "triton"]),
        "both": (0, ["--model.kernels", "triton", "--model.recompute_activation", "true"]),
    }
    common = ["--engine.precision", "fp32", "--evaluation.every", "0"]
    common += ["--model.hidden_dropout_prob", "0.0", "--model.attention_probs_dropout_prob", "0.0"]
    jobs = []
    for name, (stage, options) in ways.items():
        recipe = recipe_file(tmp_path, samples, name, **SMALL | {"micro_batch_size": 4})
        stages = ["--engine.deepspeed", f"ds_configs/zero{stage}_{{precision}}.json"]
        jobs.append((["--recipe", recipe, *common, *stages, *options], None))
    on_ranks(runs, 2, jobs)
    expected = curve(tmp_path / "plain")
    assert len(expected) == 2
    for name in ways:
        assert curve(tmp_path / name) == pytest.approx(expected, rel=1e-5)


def test_resume_at_another_world_size_and_stage_goes_on_to_rounding(tmp_path, samples):
    """A run that moves from (stage 2, 2 ranks) to (stage 3, 3 ranks) and (stage 0, 1 rank) and back has the undisturbed
    run's curve.
    """
    whole = ["--recipe", recipe_file(tmp_path, samples, "whole", **TINY), "--engine.precision", "fp32"]
    moved = [
        "--recipe",
        recipe_file(tmp_path, samples, "moved", **TINY),
        "--engine.precision",
        "fp32",
        "--checkpoint.every",
        "1",
    ]
    on_ranks(runs, 2, [(whole, None), (moved, 1)])
    on_ranks(runs, 3, [([*moved, "--engine.deepspeed", "ds_configs/zero3_{precision}.json"], 2)])
    on_ranks(runs, 1, [([*moved, "--engine.deepspeed", "ds_configs/zero0_{precision}.json"], 3)])
    on_ranks(runs, 2, [(moved, None)])
    assert curve(tmp_path / "moved") == pytest.approx(curve(tmp_path / "whole"), rel=1e-6)


def test_adamw_trains_through_the_same_machinery(tmp_path, samples):
    """With optimizer.name = adamw, 2 ranks at stage 2 give the curve of 1 rank at stage 0, which is not LAMB's."""
    options = ["--engine.precision", "fp32", "--evaluation.every", "0"]
    options += ["--optimizer.bias_correction", "false", "--optimizer.lr", "1e-3"]
    adamw, lamb = ["--optimizer.name", "adamw"], ["--optimizer.name", "lamb"]
    one, two, other = (recipe_file(tmp_path, samples, name, **TINY) for name in ("one", "two", "other"))
    stage0 = ["--engine.deepspeed", "ds_configs/zero0_{precision}.json"]
    on_ranks(
        runs, 1, [(["--recipe", one, *options, *adamw, *stage0], None), (["--recipe", other, *options, *lamb], None)]
    )
    on_ranks(runs, 2, [(["--recipe", two, *options, *adamw], None)])
    assert curve(tmp_path / "two") == pytest.approx(curve(tmp_path / "one"), rel=1e-6)
    assert curve(tmp_path / "other")[-1] != pytest.approx(curve(tmp_path / "one")[-1], rel=1e-4)


def test_muon_resumes_bit_for_bit_and_elsewhere_to_rounding(tmp_path, samples):
    """Muon on 2 ranks at stage 2 resumes there bit for bit, and at stage 0 on 1 rank to rounding.

    The Newton-Schulz steps multiply the rounding of gradients by up to 485 where singular values are small
    (tests/pipeline/optim/test_muon.py), so that the curves agree to 1e-5 and not to 1e-6 as LAMB's do.
    """
    muon = ["--engine.precision", "fp32", "--optimizer.name", "muon", "--optimizer.lr", "1e-3"]
    muon += ["--evaluation.every", "0", "--checkpoint.every", "2"]
    sizes = TINY | {"num_hidden_layers": 2}
    whole, killed, moved = (
        ["--recipe", recipe_file(tmp_path, samples, name, **sizes), *muon] for name in ("whole", "killed", "moved")
    )
    on_ranks(runs, 2, [(whole, None), (killed, 3), (killed, None), (moved, 2)])
    on_ranks(runs, 1, [([*moved, "--engine.deepspeed", "ds_configs/zero0_{precision}.json"], None)])
    assert_identical(tmp_path / "whole", tmp_path / "killed")
    assert curve(tmp_path / "moved") == pytest.approx(curve(tmp_path / "whole"), rel=1e-5)
    moments = tensors(tmp_path / "whole", 4).keys()
    assert {name for part, name in moments if part == "exp_avg"} - {
        name for part, name in moments if part == "exp_avg_sq"
    } == {
        f"encoder.layers.{n}.{name}.weight"
        for n in range(2)
        for name in ("qkv", "attention_output", "intermediate", "output")
    }


def command(*arguments, launcher=()):
    return subprocess.run(
        [sys.executable, "-m", *launcher, "pipeline.pretrain", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_a_monitor_that_the_deepspeed_json_turns_on_gets_the_metrics(tmp_path, samples):
    """DeepSpeed's CSV monitor, which stands for all monitors of the JSON file, gets the held-out and
    training figures.
    """
    settings = json.loads((ROOT / "ds_configs" / "zero2_fp32.json").read_text())
    settings["csv_monitor"] = {"enabled": True, "output_path": str(tmp_path / "csv"), "job_name": "job"}
    (tmp_path / "monitored.json").write_text(json.dumps(settings))
    path = recipe_file(tmp_path, samples, **SMALL)
    on_ranks(runs, 1, [(["--recipe", path, "--engine.deepspeed", str(tmp_path / "monitored.json")], None)])
    rows = (tmp_path / "csv" / "job" / "train_loss.csv").read_text().split()[-2:]
    assert [float(row.partition(",")[2]) for row in rows] == pytest.approx(curve(tmp_path / "run"))
    assert (tmp_path / "csv" / "job" / "heldout_mlm_loss.csv").exists()


def test_init_from_takes_weights_and_starts_anew(tmp_path, samples):
    """With init_from, phase 2 starts at step 0 with phase 1's weights: its first held-out loss is phase 1's last."""
    first, second = (recipe_file(tmp_path, samples, name, **SMALL) for name in ("first", "second"))
    on_ranks(
        runs,
        1,
        [
            (["--recipe", first], None),
            (["--recipe", second, "--init_from", str(tmp_path / "first"), "--seed", "12345"], None),
        ],
    )
    assert curve(tmp_path / "second", "heldout")[0] == curve(tmp_path / "first", "heldout")[-1]


@pytest.mark.slow
def test_errors_reach_the_user_as_one_line_on_every_launcher(tmp_path, samples):
    """Two ranks under torchrun print one error line and end with a non-zero status, without a hang and without a run
    directory.
    """
    path = recipe_file(tmp_path, samples, "run", global_batch_size=25)
    done = command("--recipe", path, launcher=("torch.distributed.run", "--nproc_per_node", "2", "-m"))
    assert done.returncode != 0
    assert done.stderr.count("error: batch.global_batch_size = 25: must be a multiple of") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_every_shipped_deepspeed_json_trains(tmp_path, samples):
    """On two ranks, ZeRO 0 to 3 train in fp32 and bf16, with curves that agree to the rounding of the precision."""
    jobs = []
    for stage in range(4):
        for precision in ("fp32", "bf16"):  # fp16 needs a GPU
            path = recipe_file(tmp_path, samples, f"{precision}{stage}")
            json_name = f"ds_configs/zero{stage}_{precision}.json"
            jobs.append((["--recipe", path, "--engine.deepspeed", json_name], None))
    on_ranks(runs, 2, jobs)
    expected = curve(tmp_path / "fp320")
    for stage in range(4):
        assert curve(tmp_path / f"fp32{stage}") == pytest.approx(expected, rel=1e-6)
        assert curve(tmp_path / f"bf16{stage}") == pytest.approx(expected, rel=2e-2)


@pytest.mark.slow
def test_deepspeed_launcher_runs_and_fails_as_a_whole(tmp_path, samples):
    """`deepspeed --module pipeline.pretrain` trains on two ranks, and an error on them is its exit status."""
    path = recipe_file(tmp_path, samples)
    launch = [str(Path(sys.executable).with_name("deepspeed")), "--num_gpus", "2", "--module", "pipeline.pretrain"]
    environment = os.environ | {"DS_ACCELERATOR": "cpu", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def launched(*options):
        return subprocess.run(
            [*launch, "--recipe", path, *options],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )

    assert launched().returncode == 0
    assert len(curve(tmp_path / "run")) == 8
    refused = launched("--seed", "7")
    assert refused.returncode != 0
    assert refused.stderr.count("is a run with another recipe (seed: 12345 -> 7)") == 1

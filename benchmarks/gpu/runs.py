"""Sections that start `pipeline.pretrain`: BERT-large under DeepSpeed, and equal bits after a kill."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.samples import write_samples
from benchmarks.gpu.setting import DROPOUT, MINI, Setting
from pipeline.checkpoints.checkpoint import Reader
from pipeline.families.bert import BertConfig
from pipeline.kernels.config import Fp8
from pipeline.runlog.reader import METRICS, read_lines

SHAPE = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings")


def options(config: BertConfig, samples: Path, run: Path, **others: Any) -> list[str]:
    """The command line of a run with this model."""
    shape = {f"model.{name}": value for name, value in asdict(config).items() if name in SHAPE}
    dropout = {"model.hidden_dropout_prob": DROPOUT, "model.attention_probs_dropout_prob": DROPOUT}
    fixed = {"data.samples": samples, "run_dir": run, "data.num_workers": 0, "evaluation.every": 0}
    return [text for name, value in (fixed | shape | dropout | others).items() for text in (f"--{name}", str(value))]


def deepspeed(stage: int) -> dict[str, str]:
    """The option that chooses a ZeRO stage."""
    return {"engine.deepspeed": f"ds_configs/zero{stage}_{{precision}}.json"}


def start(
    setting: Setting,
    arguments: list[str],
    log: Path,
    fault: str = "",
    program: tuple[str, ...] = ("pipeline.pretrain",),
) -> subprocess.Popen[bytes]:
    """Start a run in a process of its own.

    Args:
        setting: the device.
        arguments: options of `pipeline.pretrain`.
        log: file to which its output is appended.
        fault: see pipeline/runtime/faults.py.
        program: module, and its arguments before the options.
    """
    environment = os.environ | ({} if setting.on_gpu else {"DS_ACCELERATOR": "cpu"})
    environment |= {"PIPELINE_FAULT": fault} if fault else {}
    command = [sys.executable, "-m", *program, *arguments]
    with log.open("ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, env=environment)


def ended(process: subprocess.Popen[bytes], log: Path, expected: int = 0) -> None:
    """Wait for a run.

    Raises:
        RuntimeError: it ended with another status than expected; the message has the end of its output.
    """
    if process.wait() != expected:
        raise RuntimeError(f"pipeline.pretrain ended with {process.returncode}: {log.read_text()[-1500:]}")


def pretraining(setting: Setting) -> Iterator[tuple[str, Any]]:
    """BERT-large by `pipeline.pretrain` with dropout 0.1 on 128 tokens, under ZeRO-1 and 2, by size of the micro-batch.

    The rates are those that the run logs: with the loader, DeepSpeed, clipping and LAMB. Its update takes a share of
    the time that is larger than in a real run, because a step has two micro-batches only.
    """
    size = setting.micro_batches[-1]
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        samples = write_samples(folder / "samples", 16 * size, 8, setting.length, setting.vocab_size)
        cases = ((1, size), (2, size), (1, setting.micro_batches[0]))
        for number, (stage, micro) in enumerate(cases[: 2 if setting.tiny else None]):
            name = f"ZeRO-{stage}, {micro} of {2 * size}"
            steps = {"schedule.total_steps": 12, "logging.every": 2, "checkpoint.every": 1000, "checkpoint.keep": 1}
            batch = {"batch.global_batch_size": 2 * size, "batch.micro_batch_size": micro}
            run, log = folder / f"run{number}", folder / "log"
            arguments = options(setting.config(DROPOUT), samples, run, **steps, **batch, **deepspeed(stage))
            ended(start(setting, arguments, log), log)
            lines = [line for line in read_lines(run / METRICS)[0] if line["kind"] == "train"]
            figures = ("sequences_per_second", "mfu", "peak_memory_gib", "loader_wait_share")
            yield name, {key: statistics.median(line[key] for line in lines[2:]) for key in figures}


def determinism(setting: Setting, fp8: Fp8 = "none") -> Iterator[tuple[str, dict[str, int]]]:
    """Whether runs of a small model on 512 tokens have equal bits: repeated, and killed after a step and resumed.

    ZeRO-1, which the recipes use, comes first: stage 2 reduces gradients by other code.

    Args:
        setting: device and size.
        fp8: `model.fp8` of the runs.

    Yields:
        "ZeRO-1 repeated", "ZeRO-1 killed", and the same of ZeRO-2 -> numbers of tensors and of losses that differ from
        those of an undisturbed run.
    """
    length, steps = (64, 6) if setting.tiny else (512, 20)
    with tempfile.TemporaryDirectory() as directory:
        samples = write_samples(Path(directory) / "samples", 200, 8, length, setting.vocab_size)
        for stage in (1,) if setting.tiny else (1, 2):
            others = {"schedule.total_steps": steps, "model.fp8": fp8} | deepspeed(stage)
            runs = three_runs(setting, samples, Path(directory) / f"zero{stage}", steps, others)
            for name in ("repeated", "killed"):
                yield f"ZeRO-{stage} {name}", differences(runs["undisturbed"], runs[name], steps)


def three_runs(setting: Setting, samples: Path, folder: Path, steps: int, others: dict[str, Any]) -> dict[str, Path]:
    """The directories of three equal runs by name, of which the last was killed half-way and resumed."""
    folder.mkdir()
    runs = {name: folder / name for name in ("undisturbed", "repeated", "killed")}
    logs = {name: folder / f"{name}.log" for name in runs}
    others = {"batch.global_batch_size": 32, "batch.micro_batch_size": 16, "logging.every": 1} | others
    arguments = {
        name: options(MINI, samples, run, **{"checkpoint.every": steps // 2}, **others) for name, run in runs.items()
    }
    fault = {"killed": f"kill:step done:*:{steps // 2 + 1}"}
    # At once: each has the device to itself for a small part of the time only.
    processes = {name: start(setting, arguments[name], logs[name], fault.get(name, "")) for name in runs}
    for name, process in processes.items():
        ended(process, logs[name], -9 if name in fault else 0)
    ended(start(setting, arguments["killed"], logs["killed"]), logs["killed"])
    return runs


def differences(undisturbed: Path, other: Path, steps: int) -> dict[str, int]:
    """Numbers of tensors, after the last step, and of losses in which two runs differ."""
    weights, others = (_weights(run, steps) for run in (undisturbed, other))
    losses = zip(_losses(undisturbed), _losses(other), strict=True)
    return {
        "weights_differ": sum(not torch.equal(others[name], value) for name, value in weights.items()),
        "losses_differ": sum(a != b for a, b in losses),
    }


def waits_of_a_run(setting: Setting) -> dict[str, int | str]:
    """Synchronisations of a step of a small model under ZeRO-1, of two micro-batches, by place; see `gpu/waits.py`."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        samples = write_samples(folder / "samples", 64, 8, 32, setting.vocab_size)
        log, out = folder / "log", folder / "waits.json"
        steps = {"schedule.total_steps": 3, "checkpoint.every": 1000, "logging.every": 1000}
        batch = {"batch.global_batch_size": 8, "batch.micro_batch_size": 4}
        arguments = options(MINI, samples, folder / "run", **steps, **batch, **deepspeed(1))
        ended(start(setting, arguments, log, program=("benchmarks.gpu.waits", str(out))), log)
        places: dict[str, int | str] = json.loads(out.read_text())
        return places


def _weights(run: Path, step: int) -> dict[str, torch.Tensor]:
    return dict(Reader(run / "checkpoints" / f"step-{step:08d}").tensors("weight"))


def _losses(run: Path) -> list[float]:
    return [line["loss"] for line in read_lines(run / METRICS)[0] if line["kind"] == "train"]

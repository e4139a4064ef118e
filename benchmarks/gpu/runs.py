"""Sections that start `pipeline.pretrain`: BERT-large under DeepSpeed, and equal bits after a kill."""

import os
import statistics
import subprocess
import sys
import tempfile
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


def start(setting: Setting, arguments: list[str], log: Path, fault: str = "") -> subprocess.Popen[bytes]:
    """Start a run in a process of its own; `fault`: see pipeline/runtime/faults.py."""
    environment = os.environ | ({} if setting.on_gpu else {"DS_ACCELERATOR": "cpu"})
    environment |= {"PIPELINE_FAULT": fault} if fault else {}
    command = [sys.executable, "-m", "pipeline.pretrain", *arguments]
    with log.open("ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, env=environment)


def ended(process: subprocess.Popen[bytes], log: Path, expected: int = 0) -> None:
    """Wait for a run.

    Raises:
        RuntimeError: it ended with another status than expected; the message has the end of its output.
    """
    if process.wait() != expected:
        raise RuntimeError(f"pipeline.pretrain ended with {process.returncode}: {log.read_text()[-1500:]}")


def pretraining(setting: Setting) -> dict[str, Any]:
    """BERT-large by `pipeline.pretrain` with dropout 0.1 on 128 tokens, under ZeRO-1 and 2, by size of the micro-batch.

    The rates are those that the run logs: with the loader, DeepSpeed, clipping and LAMB. Its update takes a share of
    the time that is larger than in a real run, because a step has two micro-batches only.
    """
    found: dict[str, Any] = {}
    size = setting.micro_batches[-1]
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        samples = write_samples(folder / "samples", 16 * size, 8, setting.length, setting.vocab_size)
        cases = ((1, size), (2, size), (1, setting.micro_batches[0]))
        for stage, micro in cases[: 1 if setting.tiny else None]:
            name = f"ZeRO-{stage}, {micro} of {2 * size}"
            steps = {"schedule.total_steps": 12, "logging.every": 2, "checkpoint.every": 1000, "checkpoint.keep": 1}
            batch = {"batch.global_batch_size": 2 * size, "batch.micro_batch_size": micro}
            engine = {"engine.deepspeed": f"ds_configs/zero{stage}_{{precision}}.json"}
            run, log = folder / f"run{len(found)}", folder / "log"
            ended(start(setting, options(setting.config(DROPOUT), samples, run, **steps, **batch, **engine), log), log)
            lines = [line for line in read_lines(run / METRICS)[0] if line["kind"] == "train"]
            figures = ("sequences_per_second", "mfu", "peak_memory_gib", "loader_wait_share")
            found[name] = {key: statistics.median(line[key] for line in lines[2:]) for key in figures}
    return found


def determinism(setting: Setting, fp8: Fp8 = "none") -> dict[str, dict[str, int]]:
    """Whether runs of a small model on 512 tokens have equal bits: repeated, and killed after a step and resumed.

    Args:
        setting: device and size.
        fp8: `model.fp8` of the runs.

    Returns:
        "repeated" and "killed" -> numbers of tensors and of losses that differ from those of an undisturbed run.
    """
    length, steps = (64, 6) if setting.tiny else (512, 20)
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        samples = write_samples(folder / "samples", 200, 8, length, setting.vocab_size)
        names = ("undisturbed", "repeated", "killed")
        arguments = {
            name: options(
                MINI, samples, folder / name,
                **{"schedule.total_steps": steps, "batch.global_batch_size": 32, "batch.micro_batch_size": 16},
                **{"checkpoint.every": steps // 2, "logging.every": 1, "model.fp8": fp8},
            )
            for name in names
        }  # fmt: skip
        logs = {name: folder / f"{name}.log" for name in names}
        fault = {"killed": f"kill:step done:*:{steps // 2 + 1}"}
        # At once: each has the device to itself for a small part of the time only.
        processes = {name: start(setting, arguments[name], logs[name], fault.get(name, "")) for name in names}
        for name, process in processes.items():
            ended(process, logs[name], -9 if name in fault else 0)
        ended(start(setting, arguments["killed"], logs["killed"]), logs["killed"])
        runs = {name: (_weights(folder / name, steps), _losses(folder / name)) for name in names}
    undisturbed = runs.pop("undisturbed")
    return {
        name: {
            "weights_differ": sum(not torch.equal(weights[key], value) for key, value in undisturbed[0].items()),
            "losses_differ": sum(a != b for a, b in zip(losses, undisturbed[1], strict=True)),
        }
        for name, (weights, losses) in runs.items()
    }


def _weights(run: Path, step: int) -> dict[str, torch.Tensor]:
    return dict(Reader(run / "checkpoints" / f"step-{step:08d}").tensors("weight"))


def _losses(run: Path) -> list[float]:
    return [line["loss"] for line in read_lines(run / METRICS)[0] if line["kind"] == "train"]

"""Metrics are kept over a resumption, and peaks of devices are known or measured."""

import json

import pytest
import torch

from pipeline.runlog import metrics
from pipeline.runlog.metrics import LoggingConfig, Writer, peak_flops
from pipeline.runlog.reader import read_lines


def test_a_measured_peak_is_that_of_products():
    """The peak of a CPU, which is in no table, is measured, and a given figure is used as it is."""
    cpu = torch.device("cpu")
    assert peak_flops(cpu, torch.float32, 2.5) == 2.5e12
    assert 1e8 < peak_flops(cpu, torch.float32) < 1e14


@pytest.mark.parametrize(
    ("name", "dtype", "expected"),
    [("NVIDIA H100 80GB HBM3", torch.bfloat16, 989e12), ("NVIDIA A100-SXM4-80GB", torch.float16, 312e12)],
)
def test_the_peak_of_a_known_gpu_is_that_of_the_table(monkeypatch, name, dtype, expected):
    """A known GPU is found by its CUDA name, and nothing is measured."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)
    assert peak_flops(torch.device("cuda"), dtype) == expected


@pytest.mark.parametrize(
    ("name", "dtype"), [("NVIDIA H100", torch.float32), ("Tesla V100", torch.bfloat16), ("Other", torch.bfloat16)]
)
def test_a_peak_that_is_not_in_the_table_is_measured(monkeypatch, name, dtype):
    """The rate is measured for fp32, for bf16 on a V100, and for unknown GPUs."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)
    monkeypatch.setattr(metrics, "gemm_rate", lambda *_: 7.0)
    assert peak_flops(torch.device("cuda"), dtype) == 7.0


def test_resumed_run_drops_what_it_will_train_again(tmp_path):
    """A resumed run removes the lines after its checkpoint, including one that a kill truncated."""
    config = LoggingConfig(tensorboard=False)
    writer = Writer(tmp_path, config, 0, -1)
    for step in (1, 2, 3):
        writer.write("train", step, {"loss": float(step)})
        writer.write("heldout", step, {"loss": float(step)})
    writer.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "tr')
    Writer(tmp_path, config, 2, 1).close()  # step 2 is trained, and not yet evaluated
    kept = [(line["kind"], line["step"]) for line in read_lines(tmp_path / "metrics.jsonl")[0]]
    assert kept == [("train", 1), ("heldout", 1), ("train", 2)]


def test_lines_that_cannot_be_read_are_dropped_and_counted(tmp_path):
    """Lines of NULs, as a power loss leaves them, and JSON that is no line of metrics are dropped and counted."""
    whole = b'{"kind": "train", "step": 1, "time": 5, "loss": 2.0}\n'
    bad = b"\0" * 40 + b"\n" + b"null\n" + b'{"kind": "train", "time": 5}\n' + b"[" * 100_000 + b"\n\xff\n"
    (tmp_path / "metrics.jsonl").write_bytes(whole + bad + whole.replace(b'"step": 1', b'"step": 2'))
    writer = Writer(tmp_path, LoggingConfig(tensorboard=False), 2, -1)
    writer.close()
    assert writer.damaged_lines == 5
    lines, damaged = read_lines(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2] and damaged == 0


def test_not_a_number_is_valid_json(tmp_path):
    """Infinite gradient norms of skipped steps are written as null, so that every JSON reader accepts the file."""
    writer = Writer(tmp_path, LoggingConfig(tensorboard=False), 0, -1)
    writer.write("train", 1, {"grad_norm": float("inf"), "loss": 2.0})
    writer.close()
    line = json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=pytest.fail)
    assert (line["grad_norm"], line["loss"]) == (None, 2.0)

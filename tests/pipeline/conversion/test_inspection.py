"""The description of a checkpoint has its training, its contents and the statistics of its tensors."""

import pytest
import torch
from made_checkpoints import add_step, rewrite_state, write_checkpoint

from pipeline.convert import convert


def test_what_a_checkpoint_holds(tmp_path, capsys):
    """Family, size, step, training, metrics, checksums and the statistics of each tensor are printed."""
    name = "encoder.layers.1.output.bias"

    def change(tensors):
        tensors[f"weight|{name}|0"] = torch.arange(16.0)
        tensors[f"exp_avg|{name}|0"] = torch.zeros(16)

    write_checkpoint(tmp_path, "bert")
    directory = add_step(tmp_path / "bert", tmp_path / "run", 1200, change)
    known = {"world_size": 8, "zero_stage": 2, "precision": "bf16", "recipe": {"optimizer": {"name": "lamb"}}}
    known |= {"consumed_samples": 76800, "metrics": {"heldout": {"mlm_loss": 2.5, "speed": 1.0}}}
    rewrite_state(directory, lambda state: state.update(known))
    convert(["inspect", str(tmp_path / "run")])
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert lines[0] == str(directory)
    rows = {line[:14].strip(): line[14:] for line in lines[1 : lines.index("")]}
    assert rows["family"] == "bert, BertForPreTraining in transformers"
    assert rows["step"] == "1,200 (0 updates), 76,800 samples"
    assert rows["trained with"] == "8 processes, ZeRO stage 2, bf16, lamb"
    assert rows["contents"] == "weights, first moments" and rows["heldout"] == "mlm_loss 2.5000"
    assert rows["files"].endswith("sizes and checksums are those of the manifest")
    row = next(line.split() for line in lines if line.startswith(name))
    assert row[1:] == ["16", "7.500e+00", "4.610e+00"]
    assert any("16 x 32" in line for line in lines)
    path = directory / "rank-00000.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="sha256 differs"):
        convert(["inspect", str(directory)])

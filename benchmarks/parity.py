"""Comparison of loss curves with a plain loop over Hugging Face's model: `python -m benchmarks.parity --samples DIR`.

Three trainings from equal weights on equal batches, dropout 0, fp32: this pipeline on one rank, this pipeline on two
ranks under ZeRO-2, and a plain loop over `transformers.BertForPreTraining` (padded batches, full logits) with an
unsharded LAMB written from the paper in this file. Prints the largest differences and draws the curves.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
import transformers
from jsonargparse import auto_cli
from torch import Tensor
from tqdm import trange

from benchmarks.measuring import train_losses
from pipeline.config import Recipe, parse
from pipeline.conversion.names import to_huggingface
from pipeline.data.batch import Batch
from pipeline.data.loader import BatchDivision, MicroBatches
from pipeline.families import get_family
from pipeline.optim.schedule import learning_rate_factor
from preprocessing.shards import SampleDataset

ROOT = Path(__file__).resolve().parent.parent


def recipe_arguments(samples: Path, out: Path, steps: int, batch: int) -> list[str]:
    """bert_mini without dropout, a line of metrics per step, no evaluation."""
    options = {
        "recipe": ROOT / "pipeline" / "recipes" / "bert_mini.toml",
        "run_dir": out,
        "data.samples": samples,
        "model.hidden_dropout_prob": 0.0,
        "model.attention_probs_dropout_prob": 0.0,
        "batch.global_batch_size": batch,
        "batch.micro_batch_size": batch // 2,
        "schedule.total_steps": steps,
        "engine.precision": "fp32",
        "evaluation.every": 0,
        "checkpoint.every": steps,
        "logging.every": 1,
        "logging.tensorboard": False,
    }
    return [text for name, value in options.items() for text in (f"--{name}", str(value))]


def ours(arguments: list[str], world_size: int) -> list[float]:
    """Losses per step of a run through the pipeline's own entry point."""
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", str(world_size), "--master_port", "29577"]
    command = [sys.executable, *launcher, "-m", "pipeline.pretrain", *arguments]
    subprocess.run(command, check=True, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"})
    run = Path(arguments[arguments.index("--run_dir") + 1])
    return train_losses(run)


def huggingface(recipe: Recipe) -> list[float]:
    """Losses per step of the plain loop: padded batches, full logits, unsharded LAMB."""
    samples = SampleDataset.open(recipe.data.samples, "train")
    size = recipe.batch.global_batch_size
    template = get_family(recipe.family).template
    batches = MicroBatches(samples, BatchDivision(size, size, 0, 1), recipe.masking, template, recipe.seed)
    model = reference_model(recipe, samples.manifest.vocab_size)
    state: dict[str, tuple[Tensor, Tensor]] = {}
    losses = []
    for step in trange(1, recipe.schedule.total_steps + 1, desc="Hugging Face"):
        loss = reference_loss(model, batches[step - 1])
        model.zero_grad()
        loss.backward()
        rate = recipe.optimizer.lr * learning_rate_factor(step, recipe.schedule)
        reference_lamb(dict(model.named_parameters()), state, step, rate)
        losses.append(loss.item())
    return losses


def reference_model(recipe: Recipe, vocab_size: int) -> torch.nn.Module:
    """`transformers.BertForPreTraining` with the weights that the pipeline begins with."""
    family = get_family(recipe.family)
    torch.manual_seed(recipe.seed)
    weights = to_huggingface(family, family.build(recipe.model, vocab_size).state_dict())
    model = transformers.BertForPreTraining(
        transformers.BertConfig(**family.export.config_to(recipe.model, vocab_size))
    )
    model.load_state_dict(weights)
    return model.train()


def reference_loss(model: torch.nn.Module, batch: Batch) -> Tensor:
    """Mean over masked positions plus mean over pairs, from padded inputs and logits at every position."""
    lengths = batch.cu_seqlens.diff().tolist()

    def padded(values: Tensor, fill: int) -> Tensor:
        return torch.nn.utils.rnn.pad_sequence(values.split(lengths), batch_first=True, padding_value=fill)

    assert batch.segment_ids is not None, "BERT's batches have segments"
    labels = torch.full_like(batch.input_ids, -100)
    labels[batch.targets["positions"]] = batch.targets["labels"]
    output = model(
        input_ids=padded(batch.input_ids, 0),
        token_type_ids=padded(batch.segment_ids, 0),
        attention_mask=padded(torch.ones_like(batch.input_ids), 0),
        labels=padded(labels, -100),
        next_sentence_label=batch.targets["pair"],
    )
    return output.loss


@torch.no_grad()
def reference_lamb(
    parameters: dict[str, torch.nn.Parameter], state: dict[str, tuple[Tensor, Tensor]], step: int, rate: float
) -> None:
    """Algorithm 2 of the LAMB paper on whole tensors, after clipping the global gradient norm to 1."""
    norm = torch.stack([p.grad.norm() for p in parameters.values() if p.grad is not None]).norm()
    clip = max(1.0, (norm.item() + 1e-6) / 1.0)
    for name, p in parameters.items():
        assert p.grad is not None, f"{name} takes no part in the loss"
        g = p.grad / clip
        m, v = state.get(name) or (torch.zeros_like(p), torch.zeros_like(p))
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        state[name] = (m, v)
        decay = 0.0 if name.endswith("bias") or "LayerNorm" in name else 0.01
        update = (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-6) + decay * p
        ratio = p.norm() / update.norm() if decay and p.norm() > 0 and update.norm() > 0 else 1.0
        p.sub_(rate * ratio * update)


def differences(curves: dict[str, list[float]]) -> dict[str, float]:
    """Largest relative difference of each curve from the reference's."""
    expected = curves["Hugging Face"]
    return {
        name: max(abs(a - b) / b for a, b in zip(curve, expected, strict=True))
        for name, curve in curves.items()
        if name != "Hugging Face"
    }


def plot(curves: dict[str, list[float]], path: Path) -> None:
    """Plot the curves and, below them, their relative differences from the reference."""
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(8, 7), sharex=True, height_ratios=[2, 1], layout="constrained")
    expected = curves["Hugging Face"]
    styles = {"Hugging Face": {"linewidth": 5, "color": "0.75"}}
    for name, curve in curves.items():
        top.plot(range(1, len(curve) + 1), curve, label=name, **styles.get(name, {"linewidth": 1.2}))
        if name != "Hugging Face":
            relative = [max(abs(a - b) / b, 1e-9) for a, b in zip(curve, expected, strict=True)]
            bottom.semilogy(range(1, len(curve) + 1), relative, linewidth=1.2, color=top.lines[-1].get_color())
    top.set_ylabel("training loss (MLM + NSP, nats)")
    top.set_title("bert_mini, equal weights and batches, dropout 0, fp32")
    top.legend()
    bottom.set_ylabel("relative difference\nfrom Hugging Face")
    bottom.set_xlabel("optimizer step")
    for axis in (top, bottom):
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def main(samples: Path, out: Path = Path("runs/parity"), steps: int = 300, batch: int = 32) -> None:
    """Train three times, compare and draw.

    Args:
        samples: samples directory made by preprocessing.
        out: new directory for the runs, parity.json and parity.png.
        steps: optimizer steps.
        batch: samples per step.
    """
    curves = {}
    for world_size, name in ((1, "this pipeline, 1 rank"), (2, "this pipeline, 2 ranks, ZeRO-2")):
        arguments = recipe_arguments(samples, out / f"ranks{world_size}", steps, batch)
        stage = [] if world_size > 1 else ["--engine.deepspeed", "ds_configs/zero0_{precision}.json"]
        curves[name] = ours(arguments + stage, world_size)
    recipe = parse(recipe_arguments(samples, out, steps, batch))
    curves["Hugging Face"] = huggingface(recipe)
    curves = dict(sorted(curves.items(), key=lambda item: item[0] != "Hugging Face"))
    (out / "parity.json").write_text(json.dumps({"differences": differences(curves), "curves": curves}))
    plot(curves, out / "parity.png")
    for name, value in differences(curves).items():
        print(f"{name}: largest relative difference from Hugging Face {value:.1e}")
    print(f"{out}/parity.png")


if __name__ == "__main__":
    auto_cli(main, as_positional=False)

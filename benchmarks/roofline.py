"""Lower bounds on the time of a training step on GPUs, by part: `python -m benchmarks.roofline`.

An operation takes at least its floating-point operations divided by the peak rate, and at least the bytes that it reads
and writes divided by the bandwidth of the memory; operations follow one another, so that their bounds add up. Those of
attention are counted by torch on the model (`pipeline.model.flops`), those of products follow from their shapes and
agree with it, and bytes follow from the passes that the kernels make. The host, launches, the loader and gaps between
kernels take no time here. Rates are those of NVIDIA's data sheets, in
`pipeline/runtime/devices.py`, and of links with the assumptions of `pipeline/planning/cluster.py`.

Source: Williams et al. 2009, "Roofline". Shapes: T tokens, M masked tokens, H hidden_size, I intermediate_size, V
vocab_size, P parameters.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jsonargparse import auto_cli

from benchmarks.gpu.setting import Setting
from pipeline.config import parse
from pipeline.data.masking import typical_count
from pipeline.planning.choice import Phase, zero_settings
from pipeline.planning.cluster import Cluster, traffic
from pipeline.planning.samples import read_samples
from pipeline.runtime.devices import DEVICES, Device, find_device

MEASURED = "bert_large_phase1"
"""Recipe whose model and vocabulary the steps of benchmarks/gpu.sh have."""
UPDATE_BYTES = {"lamb": 42, "adamw": 30, "muon": 42}
"""Bytes per parameter of the update with 16-bit model weights (pipeline/kernels/lamb/interface.py). Muon's iteration
comes on top and is not counted."""
NORM_BYTES = 4
"""Bytes per parameter of the norm that clipping needs."""
SUM_BYTES = 10
"""Bytes per parameter and micro-batch: a bf16 gradient is added to the sum in fp32."""
MASKED_SHARE = 0.15
"""Share of masked tokens in the steps of benchmarks/gpu.sh (benchmarks/batches.py)."""
EMBEDDING_PASSES = 27
"""Accesses of (T, H) tensors by the embeddings, 16 forward and 11 backward: three look-ups, two sums, norm, dropout."""


class Operation(NamedTuple):
    """A kernel, or several in sequence that are limited alike."""

    flops: float
    bytes: float
    in_fp8: bool = False

    def seconds(self, device: Device) -> float:
        """Its shortest time on the device."""
        rate = device.fp8_tflops * 1e12 if self.in_fp8 else device.peak_flops
        return max(self.flops / rate, self.bytes / (device.memory_gb_s * 1e9))


@dataclass(frozen=True)
class MicroBatch:
    """Sizes of a micro-batch."""

    samples: int
    tokens: int
    squares: int
    """Sum of the squared lengths of the samples."""
    masked: int

    @classmethod
    def uniform(cls, samples: int, length: int, masked: int) -> "MicroBatch":
        """Equally long samples with equally many masked tokens."""
        return cls(samples, samples * length, samples * length**2, samples * masked)


def product(rows: int, inside: int, columns: int, fp8: bool = False) -> list[Operation]:
    """The three products of a linear layer; with `fp8` two of them, and the quantisation of their factors."""
    work, weight = 2 * rows * inside * columns, inside * columns
    wide = Operation(work, 2 * (rows * (inside + columns) + weight))
    if not fp8:
        return [wide] * 3
    operations = [wide]  # of the weight's gradient
    for read, written in ((inside, columns), (columns, inside)):
        operations.append(Operation(0, 3 * (rows * read + weight)))
        operations.append(Operation(work, rows * read + weight + 2 * rows * written, in_fp8=True))
    return operations


def parts(phase: Phase, batch: MicroBatch, fp8: bool, dropout: bool) -> dict[str, list[Operation]]:
    """The operations of the forward and backward pass of a micro-batch in bf16, by part; arguments as in `bound`."""
    model, vocabulary = phase.recipe.model, phase.samples.vocab_size
    hidden, inner, layers = model.hidden_size, model.intermediate_size, model.num_hidden_layers
    states = 2 * batch.tokens * hidden  # bytes of the hidden states
    pairs = phase.cost.per_pair * batch.squares / layers
    # Two norms (benchmarks/kernels.py); GELU; the sum of gradients over the rows for the bias of queries, keys and
    # values; two sums of the gradients that meet at a residual connection, which products in bf16 add as they read one.
    passes = 2 * (8 if dropout else 7) + 5 * inner / hidden + 3 + 2 * (3 if fp8 else 1)
    shapes = ((hidden, 3 * hidden), (hidden, hidden), (hidden, inner), (inner, hidden))
    head = [*product(batch.masked, hidden, hidden), *product(batch.masked, hidden, vocabulary)]
    return {
        "products of the layers": [each for shape in shapes for each in product(batch.tokens, *shape, fp8)] * layers,
        # Queries, keys, values and output; backward, these, the output's gradient, and as many gradients as inputs.
        "attention": [Operation(pairs / 3, 4 * states), Operation(pairs * 2 / 3, 8 * states)] * layers,
        "norms, GELU, sums, embeddings": [Operation(0, passes * states)] * layers
        + [Operation(0, EMBEDDING_PASSES * states)],
        "vocabulary": [*head, Operation(0, 3 * 2 * batch.masked * vocabulary)],
    }


@dataclass(frozen=True)
class Bound:
    """Shortest times of a micro-batch, with its share of what a step does once, by part."""

    samples: int
    flops: dict[str, float]
    gigabytes: dict[str, float]
    """GB read and written; of the reduction, sent."""
    seconds: dict[str, float]

    @property
    def total(self) -> float:
        """Seconds of all parts."""
        return sum(self.seconds.values())

    @property
    def sequences_per_second(self) -> float:
        """Samples per second and GPU."""
        return self.samples / self.total


def bound(
    phase: Phase, batch: MicroBatch, cluster: Cluster, accumulation: int, fp8: bool = False, dropout: bool = True
) -> Bound:
    """The shortest time of a micro-batch under ZeRO-1.

    Args:
        phase: recipe and samples.
        batch: sizes of the micro-batch.
        cluster: the GPUs.
        accumulation: micro-batches of a step on each GPU, by which update and reduction of a step are divided.
        fp8: whether `model.fp8` is native.
        dropout: whether hidden states are dropped, as the published recipes do.
    """
    operations, optimizer = parts(phase, batch, fp8, dropout), phase.recipe.optimizer
    parameters = phase.parameters.total
    per_parameter = UPDATE_BYTES[optimizer.name] + (NORM_BYTES if optimizer.max_grad_norm else 0)
    operations |= {
        "gradients added in fp32": [Operation(0, SUM_BYTES * parameters)],
        "update": [Operation(0, per_parameter * parameters / cluster.gpus / accumulation)],
    }
    flops = {part: sum(each.flops for each in found) for part, found in operations.items()}
    gigabytes = {part: sum(each.bytes for each in found) / 1e9 for part, found in operations.items()}
    seconds = {part: sum(each.seconds(cluster.device) for each in found) for part, found in operations.items()}
    sent = traffic(zero_settings(1, "bf16"), parameters, 2, cluster, accumulation, sum(seconds.values()))
    name = "reduction"
    return Bound(
        batch.samples,
        flops | {name: 0.0},
        gigabytes | {name: sent.volume / accumulation / 1e9},
        seconds | {name: sent.seconds / accumulation},
    )


@cache
def phase_of(recipe: str) -> tuple[Phase, MicroBatch]:
    """A recipe in bf16 and its micro-batch, every sample as long as the longest."""
    chosen = parse(["--recipe", recipe])
    samples = read_samples(chosen, None, None, None)
    masked = typical_count(chosen.masking, samples.seq_length, 0.5, chosen.seed)
    batch = MicroBatch.uniform(chosen.batch.micro_batch_size, samples.seq_length, masked)
    return Phase(recipe, chosen, samples, "bf16"), batch


def table(recipe: str, devices: list[str], gpus: int) -> str:
    """The bounds of a recipe on several GPUs in Markdown, with the shares of the time on the last one."""
    phase, batch = phase_of(recipe)
    accumulation = max(1, phase.global_batch // (gpus * batch.samples))
    clusters = [Cluster(DEVICES[name], gpus, gpus, DEVICES[name].network_gb_s) for name in devices]
    bounds = [bound(phase, batch, cluster, accumulation) for cluster in clusters]
    in_fp8 = [
        f"{bound(phase, batch, cluster, accumulation, True).sequences_per_second:,.0f}"
        if cluster.device.fp8_tflops
        else "none"
        for cluster in clusters
    ]
    names, last = [cluster.device.name for cluster in clusters], bounds[-1]
    work = sum(last.flops.values())
    mfu = [work / each.total / cluster.device.peak_flops for each, cluster in zip(bounds, clusters, strict=True)]
    lines = [
        f"`{recipe}`: {batch.samples} sequences of {phase.samples.seq_length} tokens, {batch.masked:,} masked; "
        f"{accumulation} micro-batches a step on each of {gpus} GPUs",
        "",
        row("", "TFLOP", "GB", *(f"{name}, ms" for name in names), f"share, {names[-1]}"),
        "|---" * (4 + len(names)) + "|",
    ]
    for part in last.seconds:
        times = (f"{each.seconds[part] * 1e3:.1f}" for each in bounds)
        sizes = f"{last.flops[part] / 1e12:.1f}", f"{last.gigabytes[part]:.1f}"
        lines.append(row(part, *sizes, *times, f"{last.seconds[part] / last.total:.0%}"))
    sizes = f"{work / 1e12:.1f}", f"{sum(last.gigabytes.values()):.1f}"
    lines.append(row("all", *sizes, *(f"{each.total * 1e3:.1f}" for each in bounds), "100%"))
    lines.append(row("sequences/s per GPU", "", "", *(f"{each.sequences_per_second:,.0f}" for each in bounds), ""))
    lines.append(row("MFU", "", "", *(f"{share:.2f}" for share in mfu), ""))
    lines.append(row("sequences/s per GPU, `model.fp8`", "", "", *in_fp8, ""))
    return "\n".join(lines)


def row(*cells: str) -> str:
    """A row of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def measured(path: Path) -> str:
    """The steps of `benchmarks/gpu.sh` beside their bounds in Markdown.

    Args:
        path: its gpu.json. Its steps have one micro-batch each, which the update follows.

    Raises:
        ValueError: it was not measured on a known GPU, or it has no steps.
    """
    content: dict[str, Any] = json.loads(path.read_text())
    device, steps = find_device(content["device"]), content["sections"].get("steps", {})
    if device is None or not steps or content["tiny"]:
        raise ValueError(
            f"--measured_json {path}: must have the section steps of a run of benchmarks/gpu.sh on a known GPU"
        )
    phase, _ = phase_of(MEASURED)
    rows = [row(f"{device.name}, BERT-large", "sequences/s, measured", "bound", "share"), "|---|---|---|---|"]
    for case, values in steps.items():
        if "sequences_per_second" in values:
            most = bound_of(case, phase, Cluster(device, 1, 1, device.network_gb_s))
            rate = values["sequences_per_second"]
            rows.append(row(case, f"{rate:,.0f}", f"{most:,.0f}", f"{rate / most:.0%}"))
    return "\n".join(rows)


def bound_of(case: str, phase: Phase, cluster: Cluster) -> float:
    """Most sequences per second of a case of the section `steps`, such as "phase1 256, dropout 0.1, fp8 native"."""
    name, dropout, *fp8 = case.split(", ")
    kind, size = name.split()
    setting = Setting(torch.device("cuda"))
    lengths = setting.packed if kind == "phase2" else [setting.length] * int(size)
    masked = sum(max(1, round(MASKED_SHARE * length)) for length in lengths)
    batch = MicroBatch(len(lengths), sum(lengths), sum(length**2 for length in lengths), masked)
    return bound(phase, batch, cluster, 1, bool(fp8), dropout != "dropout 0").sequences_per_second


def main(
    recipes: list[str] = ["bert_large_phase1", "bert_large_phase2", "bert_base_phase1", "roberta_base"],  # noqa: B006
    devices: list[str] = ["a100", "h100", "h200"],  # noqa: B006  jsonargparse reads it
    gpus: int = 8,
    measured_json: Path | None = None,
) -> None:
    """Print a table for each recipe.

    Args:
        recipes: names or files of recipes.
        devices: names of GPUs, as `python -m pipeline.plan --gpu` has them.
        gpus: number of GPUs of one node, with NVLink, that share a step.
        measured_json: gpu.json of benchmarks/gpu.sh, whose steps are printed beside their bounds.

    Raises:
        ValueError: there is no such GPU or recipe, or `measured_json` has no steps of a known GPU.
    """
    for name in devices:
        if name not in DEVICES:
            raise ValueError(f"--devices: there is no GPU {name}; there are {', '.join(DEVICES)}")
    print("\n\n".join(table(recipe, devices, gpus) for recipe in recipes))
    if measured_json is not None:
        print(f"\n{measured(measured_json)}")


if __name__ == "__main__":
    auto_cli(main, as_positional=False)

"""Forward and backward pass of a micro-batch as one CUDA graph each, which the host launches at once.

A graph repeats its kernels on the addresses and with the numbers of its capture. Everything that differs between
micro-batches of one shape is therefore an input: the tensors of the batch, and the counts of the global batch by which
losses are divided. Their values are copied into the graph's own tensors before it is launched. Micro-batches have few
shapes with `data.fixed_shapes`; there is one graph for each.

The backward pass returns the gradients of the parameters to autograd, which passes them on to DeepSpeed's hooks. Graphs
thus contain no hook, and update and reduction are launched as without them. torch's generator, which dropout draws
from, is an input of a graph, too: `torch.manual_seed` before a launch acts as without a graph.

A graph's outputs and gradients are valid until its next launch. All graphs share the memory of their activations, since
the backward pass of a micro-batch ends before the forward pass of the next one begins.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from pipeline.data.batch import Batch
from pipeline.engine.settings import Zero
from pipeline.model.output import Output

Outputs = tuple[Tensor, ...]
Capture = Callable[[nn.Module, Outputs], Callable[..., Outputs]]
"""(module, inputs of the shapes to come) -> function of such inputs that computes what the module does."""
TENSORS = ("input_ids", "segment_ids", "position_ids", "cu_seqlens")
"""Fields of a batch that are inputs of a graph, with the targets and totals."""
MOST_SHAPES = 8
"""Most shapes that have a graph, because each graph holds gradients of all parameters."""


def obstacle(
    device: torch.device, settings: Mapping[str, Any], precision: str, fixed_shapes: bool, checkpointed_layers: int
) -> str:
    """Return why graphs cannot be used, as a sentence's end behind "because"; empty if they can.

    Args:
        device: device of the model.
        settings: content of the DeepSpeed JSON.
        precision: "fp32", "bf16" or "fp16".
        fixed_shapes: `data.fixed_shapes`.
        checkpointed_layers: number of layers that recompute their activations.
    """
    zero = Zero.of(dict(settings))
    if device.type != "cuda":
        return f"the device is {device.type}"
    if not fixed_shapes:
        return "nearly every micro-batch has a shape of its own; set data.fixed_shapes"
    if checkpointed_layers:
        return "activation checkpointing stores and sets the state of the random generator between kernels"
    if zero.stage == 3:
        return "ZeRO-3 gathers the weights of each module in a hook"
    if zero.stage == 2 and zero.overlap:
        return "with overlap_comm, ZeRO-2 reads gradients while the next micro-batch overwrites them"
    if precision == "fp32":
        return "gradients in fp32 are added up in the tensors that a graph overwrites; set engine.precision to bf16"
    if settings.get("torch_autocast", {}).get("enabled"):
        return "autocast keeps copies of the weights that a graph would not see change"
    return ""


class Graphs:
    """Computes a model's forward pass by graphs; each is captured at the first micro-batch of its shape."""

    def __init__(self, model: nn.Module, capture: Capture | None = None) -> None:
        """Args:
        model: takes a batch and returns an `Output`.
        capture: makes a graph; by default `CudaCapture`.
        """
        self.model, self.launch_kernels = model, model.forward
        self._capture = capture or CudaCapture()
        self._graphs: dict[tuple[Any, ...], tuple[_Flat, Callable[..., Outputs]]] = {}

    def install(self) -> None:
        """Replace the model's forward pass."""
        self.model.forward = self.forward

    def forward(self, batch: Batch) -> Output:
        """Compute a micro-batch; without gradients, or if there are too many shapes, by single launches."""
        inputs = inputs_of(batch)
        shape = (batch.max_seqlen, batch.num_samples, *((name, value.shape) for name, value in inputs.items()))
        is_new = shape not in self._graphs
        if not (torch.is_grad_enabled() and self.model.training) or (is_new and len(self._graphs) == MOST_SHAPES):
            output: Output = self.launch_kernels(batch)
            return output
        tensors = tuple(inputs.values())
        if is_new:
            flat = _Flat(self.model, self.launch_kernels, batch, tuple(inputs))
            self._graphs[shape] = flat, self._capture(flat, tensors)
        flat, graph = self._graphs[shape]
        loss, *sums = graph(*tensors)  # which the next launch overwrites
        return Output(
            loss.clone(), {name: value.detach().clone() for name, value in zip(flat.names, sums, strict=True)}
        )


class _Flat(nn.Module):
    """The model as a function of tensors; numbers on the host are those of the micro-batch that it is made with."""

    def __init__(
        self, model: nn.Module, launch_kernels: Callable[[Batch], Output], batch: Batch, inputs: tuple[str, ...]
    ) -> None:
        super().__init__()
        self.model = model  # so that its parameters are this module's, too
        self.launch_kernels, self.batch, self.inputs = launch_kernels, batch, inputs
        self.names: tuple[str, ...] = ()

    def forward(self, *tensors: Tensor) -> Outputs:
        output = self.launch_kernels(batch_of(self.batch, dict(zip(self.inputs, tensors, strict=True))))
        self.names = tuple(output.sums)
        return output.loss, *output.sums.values()


def inputs_of(batch: Batch) -> dict[str, Tensor]:
    """Return the tensors that a graph reads; that of the totals (number of counts,) is copied to the batch's device."""
    inputs = {name: value for name in TENSORS if (value := getattr(batch, name)) is not None}
    inputs |= {f"targets.{name}": value for name, value in batch.targets.items()}
    totals = torch.tensor(list(batch.totals.values()))
    if batch.input_ids.device.type == "cuda":
        totals = totals.pin_memory().to(batch.input_ids.device, non_blocking=True)  # otherwise the host would wait
    return inputs | {"totals": totals}


def batch_of(batch: Batch, inputs: Mapping[str, Tensor]) -> Batch:
    """Return the batch with these inputs; its `totals` are tensors ()."""
    fields: dict[str, Any] = {name: inputs[name] for name in TENSORS if name in inputs}
    fields["targets"] = {name: inputs[f"targets.{name}"] for name in batch.targets}
    fields["totals"] = dict(zip(batch.totals, inputs["totals"].unbind(), strict=True))
    return replace(batch, **fields)


class CudaCapture:
    """Captures graphs that share one pool of memory."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, module: nn.Module, inputs: Outputs) -> Callable[..., Outputs]:
        """Run the passes of a module a few times, and capture them.

        The state of the generator is restored: the masks of a micro-batch must not depend on whether it is the first
        one of its shape (law 5).
        """
        device = inputs[0].device
        state = torch.cuda.get_rng_state(device)
        graph = torch.cuda.make_graphed_callables(module, inputs, allow_unused_input=True, pool=self._pool)
        torch.cuda.set_rng_state(state, device)
        return cast(Callable[..., Outputs], graph)

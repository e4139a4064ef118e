"""Memory of one micro-batch's forward and backward pass, measured on the model's own code without a GPU.

The model runs on torch's meta device, whose tensors have shapes and storages of known size and no contents. Each
storage counts from the operation that creates it until Python and autograd release it. Activation checkpointing,
`recompute_activation` and `max_logits_mib` are therefore in effect, and no family needs a formula.
"""

import importlib
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.util import find_spec
from typing import Any, NamedTuple, TypeVar
from unittest import mock

import torch
from torch import Tensor, nn
from torch.autograd.graph import _engine_run_backward
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipeline.model.config import EncoderConfig
from pipeline.model.probe import uniform_batch

C = TypeVar("C", bound=EncoderConfig)
Build = Callable[[C, int], nn.Module]
"""(config, vocab_size) -> model, which takes a batch and returns an output with the field `loss`."""

SMALL_VOCABULARY = 16
"""Tokens of a vocabulary whose logits and embeddings take negligible memory."""
PROBE = 64
"""Samples of the micro-batch on which layers are measured; their memory is proportional to the samples."""


class MicroBatch(NamedTuple):
    """Sizes of a micro-batch whose samples are equally long."""

    samples: int
    length: int
    """Tokens of each sample."""
    masked: int
    """Masked tokens of each sample."""


@dataclass(frozen=True)
class Passes:
    """Bytes that the passes of one micro-batch take."""

    kept: int
    """Bytes kept from the forward pass to the backward pass, including the batch."""
    backward: dict[str, int]
    """Parameter name -> peak of the backward pass's tensors, in bytes, until the gradient of the parameter is complete.
    Complete gradients are released one by one."""


@dataclass(frozen=True)
class Activations:
    """Bytes of one micro-batch by purpose."""

    ends: int
    """Kept by embeddings and heads, without the logits over the vocabulary, and the batch."""
    layer: int
    """Kept by one layer."""
    layer_input: int
    """Kept by one layer under activation checkpointing."""
    logits: int
    """Kept logits over the vocabulary."""
    head: int
    """Peak of temporary tensors in the backward pass of the heads, with the gradient of the word embeddings."""
    working: int
    """Peak of temporary tensors in the backward pass of one layer."""


def activations(
    build: Build[C], config: C, vocab_size: int, batch: MicroBatch, dtype: torch.dtype, kind: str
) -> Activations:
    """Measure a micro-batch on models of one and of two layers, because all layers are equal.

    If a part of the model has half as many layers, the models have two and four, and a layer counts half of that part.

    Args:
        build: makes the model from a configuration and the size of the vocabulary.
        config: configuration of the model; `num_hidden_layers` and `activation_checkpointing` are ignored.
        vocab_size: number of token ids.
        batch: sizes of the micro-batch.
        dtype: type of the weights.
        kind: device whose kernels are assumed, "cpu" or "cuda".
    """

    plain, checkpointed = (replace(config, activation_checkpointing=switch) for switch in (False, True))

    def run(layers: int, vocab_size: int, batch: MicroBatch) -> Passes:
        shape = replace(plain, num_hidden_layers=config.layer_step * layers)
        return measure(build, shape, vocab_size, batch, dtype, kind)

    def scaled(size: int) -> int:
        return size * batch.samples // PROBE

    one, two = (run(layers, SMALL_VOCABULARY, batch._replace(samples=PROBE)) for layers in (1, 2))
    whole = run(2, vocab_size, batch)
    # The backward pass of the whole model begins with the second layer, whose names the small model does not have.
    head = (size for name, size in whole.backward.items() if name not in one.backward)
    return Activations(
        ends=scaled(2 * one.kept - two.kept),
        layer=layer_bytes(build, plain, batch, dtype, kind),
        layer_input=layer_bytes(build, checkpointed, batch, dtype, kind),
        logits=max(0, whole.kept - scaled(two.kept)),
        head=min(head, default=max(whole.backward.values())),
        working=scaled(max(one.backward.values())),
    )


def layer_bytes(build: Build[C], config: C, batch: MicroBatch, dtype: torch.dtype, kind: str) -> int:
    """Return the bytes that one layer keeps of a micro-batch, under activation checkpointing those of its input.

    The arguments are those of `activations`, but `activation_checkpointing` is not ignored. One measurement serves
    micro-batches of any number of samples.
    """
    one, two = (
        measure(
            build,
            replace(config, num_hidden_layers=config.layer_step * layers),
            SMALL_VOCABULARY,
            batch._replace(samples=PROBE),
            dtype,
            kind,
        ).kept
        for layers in (1, 2)
    )
    return (two - one) * batch.samples // PROBE // config.layer_step


@cache
def measure(build: Build[C], config: C, vocab_size: int, batch: MicroBatch, dtype: torch.dtype, kind: str) -> Passes:
    """Run the forward and backward pass of one micro-batch on the meta device; arguments as in `activations`.

    Under activation checkpointing the backward pass is not run: it consists of passes that are measured without.
    Instead of flash-attn, which the machine that makes a plan need not have, `auto` is measured. With Triton it keeps
    the same tensors. Products in FP8 keep the tensors of products in bf16, for the gradients of the weights.
    """
    config = replace(config, fp8="none")
    if config.attention == "flash_attn":
        config = replace(config, attention="auto")
    model = build_without_memory(build, config, vocab_size).to(dtype)
    backward = dict[str, int]()
    with _Live(model) as live, ExitStack() as hooks:

        def arrived(name: str, parameter: Tensor) -> None:
            parameter.grad = None  # memory of gradients is estimated in `pipeline.planning.step_blocks`
            backward[name] = live.peak

        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            hooks.callback(parameter.register_post_accumulate_grad_hook(partial(arrived, name)).remove)
        with torch.device("meta"):
            made = uniform_batch(*batch)
        with _Pretended(kind, list(range(0, batch.samples * batch.length + 1, batch.length))), _no_launches():
            loss = model(made).loss
            kept = live.bytes
            live.begin()
            if not config.checkpointed_layers:
                # The mode would intercept `loss.backward()` as one call, and not the calls within it.
                _engine_run_backward((loss,), (torch.ones_like(loss),), False, False, (), True, accumulate_grad=True)
    return Passes(kept, backward)


@cache
def build_without_memory(build: Build[C], config: C, vocab_size: int) -> nn.Module:
    """Build a model on the meta device."""
    with torch.device("meta"):
        return build(config, vocab_size).train()


class _Live(TorchDispatchMode):
    """Counts the bytes of storages that operations have created and that are still referenced."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.bytes = self.peak = self._began = 0
        self._known = {tensor.untyped_storage()._cdata for tensor in model.state_dict(keep_vars=True).values()}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.is_meta:
                self._count(tensor.untyped_storage())
        return out

    def begin(self) -> None:
        """Restart the count; storages that exist already no longer count."""
        self.bytes = self.peak = 0
        self._began += 1

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self.bytes += size
            self.peak = max(self.peak, self.bytes)
            weakref.finalize(storage, self._free, key, size, self._began)

    def _free(self, key: int, size: int, began: int) -> None:
        self._known.discard(key)
        self.bytes -= size * (began == self._began)


class _Pretended(TorchFunctionMode):
    """Makes meta tensors appear as tensors of another device to Python code.

    torch chooses some operations by device in C++, which this mode repeats: on a CUDA device dropout is one operation
    that keeps a mask of bytes, and attention with a mask and dropout uses the memory-efficient kernel.

    Args:
        kind: "cpu" or "cuda".
        bounds: values of the batch's `cu_seqlens`, which attention on a CPU reads with `tolist`.
    """

    def __init__(self, kind: str, bounds: list[int]) -> None:
        super().__init__()
        self.device = torch.device(kind)
        self.bounds = bounds

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func == Tensor.device.__get__:
            return self.device
        if func is Tensor.tolist:
            return self.bounds
        if kwargs.get("device") is not None or func is torch.empty:
            kwargs["device"] = "meta"
        if self.device.type == "cuda":
            func = _CUDA.get(func, func)
        return func(*args, **kwargs)


def _dropout(x: Tensor, p: float, **_: bool) -> Tensor:
    return torch.native_dropout(x, p, True)[0]


def _efficient_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor, dropout_p: float, scale: float | None
) -> Tensor:
    bias = torch.zeros_like(attn_mask, dtype=query.dtype).expand(*query.shape[:3], key.shape[2])
    out: Tensor = torch.ops.aten._scaled_dot_product_efficient_attention(query, key, value, bias, True, dropout_p)[0]
    return out


_CUDA: dict[Any, Any] = {functional.dropout: _dropout, functional.scaled_dot_product_attention: _efficient_attention}


@contextmanager
def _no_launches() -> Iterator[None]:
    """Skip launches of Triton kernels, which write into tensors that have no memory on the meta device."""
    with ExitStack() as stack:
        if find_spec("triton") is not None:  # otherwise plain torch is used (`pipeline.kernels.backends`)
            launcher = importlib.import_module("triton.runtime.jit").KernelInterface
            stack.enter_context(mock.patch.object(launcher, "__getitem__", lambda *_: lambda *_, **__: None))
        yield

"""Steps of Hugging Face's classes of pre-training, the reference of `benchmarks.training`, and held-out figures."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.batch import Batch
from pipeline.families.base import Family
from pipeline.families.bert import FAMILY
from pipeline.model.config import EncoderConfig

Step = Callable[[Batch], Tensor]
LossOf = Callable[[Any, Batch, int], Tensor]
"""(model, batch, length to which sequences are padded) -> loss ()."""
MakeOptimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
PAIR_LABELS = {"bert": "next_sentence_label", "albert": "sentence_order_label"}
"""Argument of the labels of pairs, by `model_type`."""
HEADS: dict[str, Callable[[Any], tuple[nn.Module, nn.Module]]] = {
    "bert": lambda model: (model.cls.predictions, model.cls.seq_relationship),
    "albert": lambda model: (model.predictions, model.sop_classifier),
}
"""Heads of masked tokens and of pairs of a model, by `model_type`."""


def huggingface(
    config: EncoderConfig,
    vocab_size: int,
    device: torch.device,
    *,
    bf16: bool,
    make: MakeOptimizer,
    loss_of: LossOf,
    width: int,
    compiled: bool = False,
    family: Family[Any] = FAMILY,
) -> Step:
    """A plain loop with attention by SDPA, clipping, and bf16 by autocast.

    Args:
        config: shape of the model.
        vocab_size: number of token ids.
        device: device of model and batch.
        bf16: whether products are in bf16.
        make: makes the optimizer.
        loss_of: computes the loss.
        width: length to which `stock_loss` pads, in tokens.
        compiled: whether torch.compile compiles the encoder.
        family: family of the model, BERT or ALBERT.
    """
    import transformers

    torch.manual_seed(0)
    model_class = getattr(transformers, family.export.model_class)
    theirs = model_class.config_class(**family.export.config_to(config, vocab_size))
    theirs._attn_implementation = "sdpa"
    model: Any = model_class(theirs)
    model.to(device).train()
    if compiled:
        model.base_model.compile(dynamic=False)
    return plain_step(model, lambda batch: loss_of(model, batch, width), make, device, bf16)


def plain_step(
    model: nn.Module, loss_of: Callable[[Batch], Tensor], make: MakeOptimizer, device: torch.device, bf16: bool
) -> Step:
    """Return a step of a plain loop with clipping.

    Args:
        model: the model, on its device.
        loss_of: batch -> loss () of the model.
        make: makes the optimizer.
        device: device of the model.
        bf16: whether products are in bf16, by autocast.
    """
    optimizer = make([*model.parameters()])

    def step(batch: Batch) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = loss_of(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step


def places(batch: Batch, width: int) -> Tensor:
    """(T,) where each token is among the B * width of the padded rows; nothing is read back from the device."""
    tokens = torch.arange(len(batch.input_ids), device=batch.input_ids.device)
    bounds = batch.cu_seqlens[: batch.num_samples + 1]
    rows = torch.searchsorted(bounds[1:], tokens, right=True)
    return rows * width + tokens - bounds.index_select(0, rows)


def padded(batch: Batch, values: Tensor, fill: int, width: int) -> Tensor:
    """(T,) values as rows (B, width)."""
    rows = torch.full((batch.num_samples * width,), fill, dtype=values.dtype, device=values.device)
    return rows.index_copy_(0, places(batch, width), values).view(-1, width)


def inputs(batch: Batch, width: int) -> dict[str, Tensor]:
    """Return the arguments of an encoder's forward pass, (B, width) each; segments only if the batch has them."""
    found = {
        "input_ids": padded(batch, batch.input_ids, 0, width),
        "attention_mask": padded(batch, torch.ones_like(batch.input_ids), 0, width),
    }
    if batch.segment_ids is not None:
        found["token_type_ids"] = padded(batch, batch.segment_ids, 0, width)
    return found


def masked_labels(batch: Batch, width: int) -> Tensor:
    """Return the labels (B, width) of masked tokens, and -100 elsewhere."""
    labels = torch.full_like(batch.input_ids, -100).index_copy_(0, batch.targets["positions"], batch.targets["labels"])
    return padded(batch, labels, -100, width)


def stock_loss(model: Any, batch: Batch, width: int) -> Tensor:
    """The loss of the model's own head at every position, with all sequences padded to `width`."""
    pairs = {PAIR_LABELS[model.config.model_type]: batch.targets["pair"]}
    out = model(**inputs(batch, width), labels=masked_labels(batch, width), **pairs)
    loss: Tensor = out.loss
    return loss


def tuned_loss(model: Any, batch: Batch, _: int) -> Tensor:
    """The loss with the head applied to masked positions only, and padding to the longest sequence."""
    masked_head, pair_head = HEADS[model.config.model_type](model)
    out = model.base_model(**inputs(batch, batch.max_seqlen))
    masked = places(batch, batch.max_seqlen).index_select(0, batch.targets["positions"])  # (M,)
    rows = out.last_hidden_state.flatten(0, 1).index_select(0, masked)  # (M, H)
    tokens = functional.cross_entropy(masked_head(rows).float(), batch.targets["labels"])
    pairs = functional.cross_entropy(pair_head(out.pooler_output).float(), batch.targets["pair"])
    return tokens + pairs


@torch.inference_mode()
def masked_figures(model: Any, batches: Iterable[Batch]) -> tuple[float, float]:
    """Mean loss and accuracy over the masked tokens, as the pipeline's evaluation computes them.

    Args:
        model: any of `transformers` whose first output is the logits (B, L, V) of the tokens.
        batches: all batches of `evaluation_batches` on one rank.
    """
    model.eval()
    loss, right, masked = 0.0, 0, 0
    for batch in batches:
        batch, width = batch.to(model.device), batch.max_seqlen
        rows = places(batch, width).index_select(0, batch.targets["positions"])  # (M,)
        logits = model(**inputs(batch, width))[0].flatten(0, 1).index_select(0, rows).float()  # (M, V)
        labels = batch.targets["labels"]
        loss += functional.cross_entropy(logits, labels, reduction="sum").item()
        right += int((logits.argmax(1) == labels).sum())
        masked += len(labels)
    return loss / masked, right / masked


def adamw(parameters: list[nn.Parameter], **options: bool) -> torch.optim.Optimizer:
    """Return torch's AdamW."""
    return torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.01, **options)  # type: ignore[arg-type]

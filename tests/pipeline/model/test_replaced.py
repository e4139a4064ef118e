"""Laws of pipeline/model/replaced.py; tests/pipeline/families/test_electra.py compares it with Hugging Face."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bert_cases import VOCAB_SIZE
from electra_cases import CONFIG, built, electra_batch

from pipeline.data.batch import padded
from pipeline.families.electra import build


def test_a_token_that_is_sampled_as_it_was_counts_as_original():
    """Where the generator is certain of the original token, no token is replaced."""
    batch, model = electra_batch(), built()
    with torch.no_grad():
        for parameter in model.generator_head.parameters():
            parameter.zero_()
        model.generator_head.decoder.bias[9] = 100.0
    batch = replace(batch, targets=batch.targets | {"labels": torch.full_like(batch.targets["labels"], 9)})
    with torch.no_grad():
        model.detection_head.prediction.weight.zero_()
        model.detection_head.prediction.bias.fill_(-1.0)
        out = model(batch)
    assert out.sums["rtd_correct"] == batch.counts["tokens"] and out.sums["mlm_correct"] == batch.counts["masked"]


def test_the_generator_learns_from_its_masked_tokens_alone():
    """The discriminator's loss has no gradient in the generator, and both losses have one in the embeddings."""
    batch, model = electra_batch(), built()
    out = model(batch)
    (out.loss - out.loss.detach()).backward()
    whole = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    model.replaced = replace(model.replaced, weight=0.0)
    model(batch).loss.backward()
    for name, parameter in model.named_parameters():
        if name.startswith("generator"):
            torch.testing.assert_close(parameter.grad, whole[name])
    assert not torch.equal(model.encoder.embeddings.word.weight.grad, whole["encoder.embeddings.word.weight"])


def test_padding_changes_only_rounding():
    """Loss and sums are those of the batch without padding (law 3)."""
    batch, model = electra_batch(), built()
    expected, found = model(batch), model(padded(batch, 512, pad_id=0))
    torch.testing.assert_close(found.loss, expected.loss)
    torch.testing.assert_close(dict(found.sums), dict(expected.sums))


def test_micro_batches_add_up_to_the_global_batch():
    """Losses of two micro-batches add up to that of both as one batch, with the same sampled tokens (law 2)."""
    model, whole = built().double(), electra_batch(lengths=[30, 50])
    masked, at = int((whole.targets["positions"] < 30).sum()), 30
    total = model(whole).loss
    shares = []
    for tokens, rows, bounds in ((slice(0, at), slice(0, masked), 0), (slice(at, 80), slice(masked, None), at)):
        targets = {name: value[rows] for name, value in whole.targets.items() if name != "pair"}
        targets["positions"] = targets["positions"] - bounds
        size = len(whole.input_ids[tokens])
        part = replace(
            whole,
            input_ids=whole.input_ids[tokens],
            segment_ids=whole.segment_ids[tokens],
            position_ids=whole.position_ids[tokens],
            cu_seqlens=torch.tensor([0, size], dtype=torch.int32),
            max_seqlen=size,
            targets=targets,
            counts={"samples": 1, "tokens": size, "masked": len(targets["labels"])},
            sample_ids=np.arange(1),
        )
        shares.append(model(part).loss)
    torch.testing.assert_close(sum(shares), total)


@pytest.mark.parametrize(("fraction", "least"), [(0.25, 0.4), (0.125, 0.2)])
def test_initialisation_by_position_reaches_both_parts(fraction, least):
    """In the encoder and in the generator, behind their projections, the first head begins on the token before; a
    generator that is narrower than a head of the encoder has fewer frequencies.
    """
    shape = dict(hidden_size=256, num_attention_heads=4, embedding_size=128, initialization="positions")
    torch.manual_seed(0)
    model = build(replace(CONFIG, **shape, generator_fraction=fraction), VOCAB_SIZE).eval()
    ids = torch.randint(VOCAB_SIZE, (64,), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        embedded = model.encoder.embeddings(ids, torch.zeros_like(ids), torch.arange(64))
        for stack in (model.encoder, model.generator):
            layer = stack.layers[0]
            qkv = layer.qkv(stack.projection(embedded))[0].unflatten(1, (3, layer.heads, -1))  # (T, 3, N, D)
            scores = qkv[:, 0, 0] @ qkv[:, 1, 0].T / qkv.shape[-1] ** 0.5
            assert torch.diagonal(scores.softmax(-1), -1).mean() > least

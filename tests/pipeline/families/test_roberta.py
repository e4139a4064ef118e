"""Laws of pipeline/families/roberta.py; foremost law 7: what it computes is what Hugging Face computes."""

import numpy as np
import pytest
import torch
import transformers
from family_cases import TOLERANCE
from torch.nn import functional

from pipeline.conversion.names import from_huggingface, to_huggingface
from pipeline.data.batch import Batch
from pipeline.data.masking import Draw
from pipeline.data.packing import pack
from pipeline.data.special_tokens import SpecialTokens
from pipeline.families.roberta import FAMILY, TEMPLATE, RobertaConfig, RobertaMasking, config_from, config_to
from pipeline.families.roberta import build as build_model

VOCAB_SIZE = 97
CONFIG = RobertaConfig(hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=80)
CLS, PAD, SEP, UNK, MASK = range(5)
SPECIAL = SpecialTokens(
    {"cls": CLS, "sep": SEP, "mask": MASK, "pad": PAD}, np.arange(VOCAB_SIZE) < 5, np.arange(VOCAB_SIZE) % 3 == 0
)


def packed_samples(lengths, seed=0):
    """Return single segments of random text with these numbers of tokens."""
    rng = np.random.default_rng(seed)
    tokens = [rng.integers(5, VOCAB_SIZE, length) for length in lengths]
    return pack(TEMPLATE, tokens, np.array(lengths), SPECIAL.ids)


def draw_of(count, seed=0, epoch=0):
    return Draw(seed, np.full(count, epoch), np.arange(count))


def make_batch(lengths=(7, 62, 33, 12, 62)):
    """Return a masked batch of single segments."""
    packed, masking, draw = packed_samples(lengths), RobertaMasking(), draw_of(len(lengths))
    sizes = np.diff(packed.cu_seqlens)
    masked = masking.counts(sizes, draw)
    corrupted = masking.apply(packed, masked, draw, SPECIAL)
    counts = {"samples": len(lengths), "tokens": int(sizes.sum()), "masked": int(masked.sum())}
    return Batch(
        input_ids=torch.from_numpy(corrupted.input_ids),
        segment_ids=None,
        position_ids=torch.from_numpy(packed.position_ids),
        cu_seqlens=torch.from_numpy(packed.cu_seqlens.astype(np.int32)),
        max_seqlen=int(sizes.max()),
        targets={name: torch.from_numpy(values) for name, values in corrupted.targets.items()},
        counts=counts,
        totals=counts,
        sample_ids=draw.indices,
        epochs=draw.epochs,
        group=0,
    )


def with_large_weights(model):
    """Draw every parameter anew and large, so that logits are about 1 and a missing bias or
    normalisation is noticed.
    """
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator) + (parameter.dim() == 1))
    return model.eval()


def build_huggingface():
    settings = transformers.RobertaConfig(**config_to(CONFIG, VOCAB_SIZE))
    return with_large_weights(transformers.RobertaForMaskedLM(settings))


def huggingface_logits(model, batch):
    """Return the padded logits of Hugging Face, which counts positions itself, in our layout (T, V)."""
    lengths = batch.cu_seqlens.diff().tolist()
    sequences = batch.input_ids.split(lengths)
    padded = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=PAD)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return model(input_ids=padded, attention_mask=mask.long()).logits[mask]


def test_logits_equal_hugging_face_in_both_directions():
    """Logits of a random model are those of its export, and logits of a random Hugging Face model those
    of its import.
    """
    batch, rows = make_batch(), torch.arange(7 + 62 + 33 + 12 + 62 + 10)
    for ours, theirs in ((with_large_weights(build_model(CONFIG, VOCAB_SIZE)), None), (None, build_huggingface())):
        if theirs is None:
            theirs = build_huggingface()
            theirs.load_state_dict(to_huggingface(FAMILY, ours.state_dict()), strict=True)
        else:
            ours = build_model(config_from(theirs.config.to_dict()), VOCAB_SIZE).eval()
            ours.load_state_dict(from_huggingface(FAMILY, theirs.state_dict()), strict=True)
        with torch.no_grad():
            expected = huggingface_logits(theirs, batch)
            assert expected.std() > 0.3, "logits too small for the comparison to mean anything"
            assert (ours.logits(batch, rows) - expected).abs().max() <= TOLERANCE


def test_loss_is_the_mean_over_masked_tokens():
    """The loss equals that of fairseq and Hugging Face, the mean over masked tokens."""
    batch, ours = make_batch(), with_large_weights(build_model(CONFIG, VOCAB_SIZE))
    theirs = build_huggingface()
    theirs.load_state_dict(to_huggingface(FAMILY, ours.state_dict()), strict=True)
    logits = huggingface_logits(theirs, batch)[batch.targets["positions"]]
    torch.testing.assert_close(ours(batch).loss, functional.cross_entropy(logits, batch.targets["labels"]))


def test_the_segment_embedding_comes_and_goes():
    """The export has a segment embedding of zeros; an import adds it to the positions, so that no
    information is lost.
    """
    state = build_model(CONFIG, VOCAB_SIZE).state_dict()
    theirs = to_huggingface(FAMILY, state)
    assert not theirs["roberta.embeddings.token_type_embeddings.weight"].any()
    back = from_huggingface(FAMILY, theirs)
    assert back.keys() == state.keys() and all(torch.equal(back[name], state[name]) for name in state)


def test_counts_follow_from_lengths_and_draws_with_an_exact_expectation():
    """Each count is one of the two integers next to length * probability, and their mean is that product (law 3)."""
    lengths = np.full(20_000, 37)
    counts = RobertaMasking().counts(lengths, draw_of(len(lengths)))
    assert set(counts.tolist()) == {5, 6}
    assert abs(counts.mean() - 37 * 0.15) < 4 * (0.25 / len(counts)) ** 0.5
    assert np.array_equal(
        counts[7:], RobertaMasking().counts(lengths[7:], Draw(0, np.zeros(19_993, int), np.arange(7, 20_000)))
    )


def test_the_whole_sample_is_masked_and_random_tokens_are_text():
    """Special tokens are masked as often as others; 80 % become <mask>, 10 % a token of the text's vocabulary, 10 %
    stay.
    """
    packed, masking, draw = packed_samples([18] * 6000), RobertaMasking(), draw_of(6000)
    counts = masking.counts(np.diff(packed.cu_seqlens), draw)
    corrupted = masking.apply(packed, counts, draw, SPECIAL)
    positions, labels = corrupted.targets["positions"], corrupted.targets["labels"]
    assert np.array_equal(labels, packed.input_ids[positions]) and np.array_equal(np.bincount(positions // 20), counts)
    often = np.bincount(positions % 20, minlength=20) / 6000
    assert abs(often - 0.15).max() < 5 * (0.15 * 0.85 / 6000) ** 0.5
    tokens = corrupted.input_ids[positions]
    assert abs((tokens == MASK).mean() - 0.8) < 4 * (0.16 / len(tokens)) ** 0.5
    changed = tokens[(tokens != MASK) & (tokens != labels)]
    assert changed.min() >= 5 and len(set(changed.tolist())) == VOCAB_SIZE - 5


def test_static_masking_repeats_its_duplicates():
    """Epochs e and e + k have the same counts and masks."""
    packed, masking = packed_samples([30] * 5), RobertaMasking(duplicates=2)
    made = []
    for epoch in range(3):
        draw = draw_of(5, epoch=epoch)
        counts = masking.counts(np.diff(packed.cu_seqlens), draw)
        made.append((counts.tolist(), masking.apply(packed, counts, draw, SPECIAL).input_ids.tolist()))
    assert made[0] == made[2] != made[1]


@pytest.mark.parametrize(
    ("field", "value"),
    [("type_vocab_size", 2), ("pad_token_id", 0), ("hidden_act", "gelu_new"), ("model_type", "bert")],
)
def test_what_the_family_does_not_compute_is_refused(field, value):
    """A Hugging Face configuration that changes the computation is an error."""
    settings = transformers.RobertaConfig(**config_to(CONFIG, VOCAB_SIZE)).to_dict()
    with pytest.raises(ValueError, match=f"{field} = {value!r}"):
        config_from({**settings, field: value})
    assert config_from(settings) == CONFIG


def test_parameters_of_roberta_base_are_those_of_the_released_model():
    """RoBERTa-base has 124.6 million parameters: 12 layers and 50,265 tokens, without the pooler and the segment
    embedding.
    """
    base = RobertaConfig(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072)
    with torch.device("meta"):
        ours = build_model(base, 50265)
        theirs = transformers.RobertaForMaskedLM(transformers.RobertaConfig(**config_to(base, 50265)))
    numbers = [sum(parameter.numel() for parameter in model.parameters()) for model in (ours, theirs)]
    assert numbers == [124_696_665, 124_697_433]


def test_matrices_of_the_layers_are_muons():
    """Muon updates exactly the two-dimensional parameters of the layers, and not those of embeddings,
    pooler and heads.
    """
    for name, parameter in build_model(CONFIG, VOCAB_SIZE).named_parameters():
        assert FAMILY.parameters.is_matrix(name) == (parameter.dim() > 1 and ".layers." in name), name

"""Laws of pipeline/families/electra.py; foremost law 7: what it computes is what Hugging Face computes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from bert_cases import VOCAB_SIZE
from electra_cases import CLASSES, CONFIG, built, electra_batch, huggingface_of
from family_cases import TOLERANCE, assert_fields_return, with_other_weights
from samples import write_tokenizer
from torch.nn import functional

from pipeline.config import parse
from pipeline.conversion.huggingface import export, fill_masks
from pipeline.conversion.importing import read_model
from pipeline.conversion.layouts import registry
from pipeline.conversion.names import from_huggingface, to_huggingface
from pipeline.conversion.parts import ModelPart, divide, join
from pipeline.data.masking import Draw
from pipeline.data.packing import pack
from pipeline.data.special_tokens import SpecialTokens
from pipeline.data.template import Template
from pipeline.families.electra import (
    FAMILY,
    FIELDS_OF_OURS,
    ElectraConfig,
    ElectraMasking,
    build,
    config_from,
    config_to,
)

EQUAL_WIDTHS = replace(CONFIG, embedding_size=48)


def huggingface_outputs(model, batch, input_ids=None):
    """Return the last hidden states (T, H) and the logits of every token of Hugging Face."""
    lengths = batch.cu_seqlens.diff().tolist()
    tokens = batch.input_ids if input_ids is None else input_ids
    padded_ids, segments = (
        torch.nn.utils.rnn.pad_sequence(values.split(lengths), batch_first=True)
        for values in (tokens, batch.segment_ids)
    )
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    out = model(padded_ids, token_type_ids=segments, attention_mask=mask.long(), output_hidden_states=True)
    return out.hidden_states[-1][mask], out.logits[mask]


def our_outputs(model, batch):
    """Return the same of our model, of the discriminator and of the generator."""
    hidden, generated = model.hidden(batch), model.generated(batch)
    return (hidden, model.detection_head(hidden)), (generated, model.generator_head(generated))


@pytest.mark.parametrize("config", [CONFIG, EQUAL_WIDTHS], ids=["projected", "equal widths"])
def test_hidden_states_and_logits_equal_hugging_face_in_both_directions(config):
    """Hidden states and logits of a random model's two parts are those of its export, and those of random Hugging Face
    models are those of their import.
    """
    batch, theirs = electra_batch(), huggingface_of(config)
    parts = [
        ModelPart(part.directory, part.family, config_from(model.config.to_dict()), found)
        for part, model in zip(FAMILY.parts, theirs, strict=True)
        for found in (from_huggingface(part.family, model.state_dict()),)
    ]
    whole = join(FAMILY, parts)
    assert whole.config == config
    imported = build(whole.config, VOCAB_SIZE).eval()
    imported.load_state_dict(whole.state_dict, strict=True)
    ours, exported = with_other_weights(built(config)), huggingface_of(config)
    for part, model in zip(divide(FAMILY, config, ours.state_dict()), exported, strict=True):
        model.load_state_dict(to_huggingface(part.family, part.state_dict), strict=True)
    with torch.no_grad():
        for here, there in ((imported, theirs), (ours, exported)):
            for found, model in zip(our_outputs(here, batch), there, strict=True):
                for actual, expected in zip(found, huggingface_outputs(model, batch), strict=True):
                    assert expected.std() > 100 * TOLERANCE, "values too small for the comparison to mean anything"
                    assert (actual - expected).abs().max() <= TOLERANCE


def test_the_loss_is_that_of_hugging_faces_models_on_the_sampled_tokens():
    """The loss is the generator's mean over masked tokens plus 50 times the discriminator's mean over all tokens, of
    which those are replaced whose sampled token differs from the original one.
    """
    batch, model = electra_batch(), built()
    discriminator, generator = huggingface_of(CONFIG)
    for part, theirs in zip(divide(FAMILY, CONFIG, model.state_dict()), (discriminator, generator), strict=True):
        theirs.load_state_dict(to_huggingface(part.family, part.state_dict), strict=True)
    positions, labels = batch.targets["positions"], batch.targets["labels"]
    logits = huggingface_outputs(generator, batch)[1][positions]
    bounds = logits.softmax(1).cumsum(1)
    sampled = (bounds <= batch.targets["uniform"][:, None]).sum(1)
    assert (sampled == labels).any() or len(set(sampled.tolist())) > 5
    tokens = batch.input_ids.clone()
    tokens[positions] = sampled
    replaced = torch.zeros(len(tokens))
    replaced[positions] = (sampled != labels).float()
    detected = huggingface_outputs(discriminator, batch, tokens)[1]
    expected = functional.cross_entropy(logits, labels)
    expected = expected + 50 * functional.binary_cross_entropy_with_logits(detected, replaced)
    out = model(batch)
    torch.testing.assert_close(out.loss, expected)
    assert out.sums["rtd_correct"] == ((detected > 0) == replaced.bool()).sum()
    assert set(out.sums) == {"mlm_loss", "mlm_correct", "rtd_loss", "rtd_correct"}


def test_most_chosen_tokens_are_hidden_and_none_is_random():
    """The generator sees the mask token in place of 85 % of the chosen text tokens and the tokens themselves in place
    of the others; above a fraction it sees only mask tokens.
    """
    special = SpecialTokens({"cls": 2, "sep": 3, "mask": 4, "pad": 0}, np.arange(50) < 5, np.zeros(50, bool))
    texts = [np.random.default_rng(n).integers(5, 50, 100) for n in range(300)]
    packed = pack(Template(), texts, np.full(300, 40), special.ids)
    draw = Draw(0, np.zeros(300, np.int64), np.arange(300))
    for config, share in ((ElectraMasking(), 0.85), (ElectraMasking(mask_only_above=0.1), 1.0)):
        counts = config.counts(np.diff(packed.cu_seqlens), draw)
        corrupted = config.apply(packed, counts, draw, special)
        positions = corrupted.targets["positions"]
        seen, hidden = corrupted.input_ids[positions], corrupted.input_ids[positions] == 4
        assert len(positions) == counts.sum() and packed.is_text[positions].all()
        assert abs(hidden.mean() - share) <= 4 * (0.13 / len(positions)) ** 0.5 * (share < 1)
        assert (seen[~hidden] == packed.input_ids[positions][~hidden]).all()


@pytest.mark.parametrize(
    ("size", "heads", "width", "encoder", "generator"),
    [("small", 1, 64, 13.5, 4.6), ("base", 4, 256, 109.5, 33.7), ("large", 4, 256, 335.1, 51.3)],
)
def test_sizes_are_those_of_the_released_models(size, heads, width, encoder, generator):
    """The parts of each recipe have as many parameters as the classes of transformers with the released shapes."""
    config = parse(["--recipe", f"electra_{size}"]).model
    assert (config.generator.num_attention_heads, config.generator.hidden_size) == (heads, width)
    assert config.generator.intermediate_size == 4 * width
    with torch.device("meta"):
        whole = build(config, 30522)
        models = [
            getattr(transformers, name)(transformers.ElectraConfig(**config_to(each, 30522)))
            for name, each in zip(CLASSES, (config, config.generator), strict=True)
        ]
    numbers = [sum(p.numel() for p in model.parameters()) for model in models]
    shared = sum(p.numel() for p in models[0].electra.embeddings.parameters())
    assert sum(p.numel() for p in whole.parameters()) == sum(numbers) - shared
    assert [round(number / 1e6, 1) for number in numbers] == [encoder, generator]


def test_an_export_is_a_directory_with_the_generator_in_it(tmp_path):
    """The classes of transformers load encoder and generator with all their weights, masks are filled by the generator,
    and both are imported as they were; an encoder alone is not enough.
    """
    write_tokenizer(tmp_path / "tokenizer", VOCAB_SIZE)
    model, out = built(), tmp_path / "out"
    export(FAMILY, model.state_dict(), CONFIG, tmp_path / "tokenizer", out, "# A card\n")
    for name, directory in (*zip(CLASSES, (out, out / "generator"), strict=True), ("AutoModel", out)):
        _, report = getattr(transformers, name).from_pretrained(directory, output_loading_info=True)
        assert not report["missing_keys"], name
    assert len(fill_masks(out / "generator", "w1 [MASK] w2")[0]) == 5
    back = read_model(FAMILY, registry.read(out))
    assert back.config == CONFIG and all(torch.equal(back.state_dict[n], v) for n, v in model.state_dict().items())
    tied = [back.state_dict[name] for name in ("encoder.embeddings.word.weight", "generator_head.decoder.weight")]
    assert tied[0].data_ptr() == tied[1].data_ptr()
    (out / "generator").rename(out / "other")
    with pytest.raises(ValueError, match=r"generator: no such directory; .* ElectraForMaskedLM in a directory"):
        read_model(FAMILY, registry.read(out))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("generator_fraction", 0.0, "model.generator_fraction = 0.0: must be above 0"),
        ("hidden_act", "gelu_new", "model.hidden_act = gelu_new: must be gelu"),
        ("type_vocab_size", 1, "model.type_vocab_size = 1: must be at least 2"),
    ],
)
def test_a_wrong_field_is_named(field, value, message):
    """A value that the model does not support is an error that names the field."""
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **{field: value})


def test_every_field_is_exported_but_those_of_training():
    """Export and import keep every field except those that are no property of a trained part."""
    config = ElectraConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        embedding_size=8,
        max_position_embeddings=128,
        type_vocab_size=3,
        hidden_dropout_prob=0.2,
        attention_probs_dropout_prob=0.3,
        layer_norm_eps=1e-5,
        initializer_range=0.03,
    )
    assert_fields_return(config, FIELDS_OF_OURS | {"hidden_act"}, transformers.ElectraConfig, config_to, config_from)

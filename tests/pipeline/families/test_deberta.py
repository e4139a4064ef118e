"""Laws of pipeline/families/deberta/; foremost law 7: what it computes is what Hugging Face computes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from bert_cases import VOCAB_SIZE
from deberta_cases import CONFIG, PLAIN, REPLACED, built, deberta_batch, decoded, huggingface_of
from family_cases import TOLERANCE, assert_equal, assert_fields_return, with_other_weights
from safetensors.torch import load_file
from samples import write_tokenizer
from torch.nn import functional

from pipeline.config import parse
from pipeline.conversion.huggingface import export, fill_masks
from pipeline.conversion.importing import read_model
from pipeline.conversion.layouts import registry
from pipeline.conversion.names import from_huggingface, to_huggingface
from pipeline.conversion.parts import divide
from pipeline.conversion.pretrained import form_of
from pipeline.data.masking import Draw
from pipeline.data.packing import pack
from pipeline.data.special_tokens import SpecialTokens
from pipeline.families.deberta import FAMILY, DebertaConfig, DebertaMasking, build, joined
from pipeline.families.deberta.export import FIELDS_OF_OURS, config_from, config_to
from pipeline.model.flops import measure


def padded(batch, input_ids=None):
    """Return tokens and attention mask (B, longest), and the mask as bool."""
    lengths = batch.lengths.tolist()
    tokens = batch.input_ids if input_ids is None else input_ids
    ids = torch.nn.utils.rnn.pad_sequence(list(tokens.split(lengths)), batch_first=True)
    real = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return {"input_ids": ids, "attention_mask": real.long(), "output_hidden_states": True}, real


def huggingface_outputs(model, batch):
    """Return the last hidden states (T, H) and the logits of every token of Hugging Face."""
    inputs, real = padded(batch)
    out = model(**inputs)
    return out.hidden_states[-1][real], out.logits[real]


def all_rows(batch):
    return torch.arange(len(batch.input_ids))


@pytest.mark.parametrize(
    "config", [PLAIN, replace(PLAIN, convolution=True, hidden_act="gelu_new")], ids=["plain", "convolution"]
)
def test_hidden_states_and_logits_equal_hugging_face_in_both_directions(config):
    """Hidden states and logits of a random model are those of its export, and those of a random Hugging Face model are
    those of its import.
    """
    form, batch, theirs = FAMILY.of(config), deberta_batch(), huggingface_of(config)
    imported = build(form.export.config_from(theirs.config.to_dict()), VOCAB_SIZE).eval()
    imported.load_state_dict(from_huggingface(form, theirs.state_dict()), strict=True)
    ours, exported = with_other_weights(built(config)), huggingface_of(config)
    exported.load_state_dict(to_huggingface(form, ours.state_dict()), strict=True)
    with torch.no_grad():
        for here, there in ((imported, theirs), (ours, exported)):
            found = here.hidden(batch), here.logits(batch, all_rows(batch))
            assert_equal(found, huggingface_outputs(there, batch))


def test_the_mask_decoder_is_the_last_layer_twice():
    """The decoder's logits are those of the last layer of transformers, applied twice to queries with positions, for
    all tokens or for some of them.
    """
    model, theirs, batch = built(), huggingface_of(CONFIG), deberta_batch()
    renamed = to_huggingface(FAMILY, model.state_dict())
    positions = renamed.pop("mask_decoder.position_embeddings.weight")
    theirs.load_state_dict(renamed, strict=True)
    with torch.no_grad():
        inputs, real = padded(batch)
        expected = decoded(theirs, positions, inputs)[real]
        assert (model.logits(batch, all_rows(batch)) - expected).abs().max() <= TOLERANCE
        some = batch.targets["positions"]
        assert (model.logits(batch, some) - expected[some]).abs().max() <= TOLERANCE
        assert (huggingface_outputs(theirs, batch)[1] - expected).abs().max() > 1, "the decoder has no effect"
        loss = functional.cross_entropy(expected[some], batch.targets["labels"])
    torch.testing.assert_close(model(batch).loss.detach(), loss)


def test_the_loss_of_replaced_tokens_is_that_of_hugging_faces_models():
    """The loss is the generator's mean over masked tokens plus 50 times the mean over all tokens of a head on the sum
    of each token's hidden state and that of its first token, on embeddings that are a sum.
    """
    model, batch, form = built(REPLACED), deberta_batch(), FAMILY.of(REPLACED)
    parts = divide(form, REPLACED, model.state_dict())
    discriminator = huggingface_of(REPLACED, "DebertaV2Model")
    renamed = to_huggingface(parts[0].family, parts[0].state_dict)
    head = {name: renamed.pop(name) for name in list(renamed) if name.startswith("mask_predictions.")}
    discriminator.load_state_dict({name.removeprefix("deberta."): value for name, value in renamed.items()})
    assert parts[1].config == REPLACED.generator and REPLACED.generator.num_hidden_layers == 1
    generator = built(REPLACED.generator)
    generator.load_state_dict(parts[1].state_dict)
    positions, labels = batch.targets["positions"], batch.targets["labels"]
    with torch.no_grad():
        logits = generator.logits(batch, positions)
        sampled = (logits.softmax(1).cumsum(1) <= batch.targets["uniform"][:, None]).sum(1)
        tokens, replaced = batch.input_ids.clone(), torch.zeros(len(batch.input_ids))
        tokens[positions], replaced[positions] = sampled, (sampled != labels).float()
        inputs, real = padded(batch, tokens)
        states = discriminator(**inputs).last_hidden_state
        states = functional.layer_norm(
            states[:, :1] + states, (48,), *(head[f"mask_predictions.LayerNorm.{kind}"] for kind in ("weight", "bias")),
            eps=1e-7,
        )  # fmt: skip
        for name, activation in (("dense", functional.gelu), ("classifier", torch.squeeze)):
            weight, bias = (head[f"mask_predictions.{name}.{kind}"] for kind in ("weight", "bias"))
            states = activation(functional.linear(states, weight, bias))
        expected = functional.cross_entropy(logits, labels)
        expected = expected + 50 * functional.binary_cross_entropy_with_logits(states[real], replaced)
    out = model(batch)
    torch.testing.assert_close(out.loss.detach(), expected, rtol=1e-5, atol=1e-4)
    assert set(out.sums) == {"mlm_loss", "mlm_correct", "rtd_loss", "rtd_correct"}


def test_embeddings_are_shared_without_the_discriminators_gradient():
    """The discriminator embeds a word as the generator's embedding plus a difference that begins with zeros; its loss
    trains the difference alone, and the generator's loss the embedding alone.
    """
    model, batch, tokens = build(REPLACED, VOCAB_SIZE).eval(), deberta_batch(), torch.tensor([3, 5])
    shared, difference = model.generator.embeddings.word.weight, model.encoder.embeddings.word.weight
    assert not difference.any() and shared[1:].any(1).all()
    with torch.no_grad():
        difference[3] = torch.arange(48.0)
        total = shared[tokens] + torch.stack((torch.arange(48.0), torch.zeros(48)))
        torch.testing.assert_close(model.embedded(tokens), functional.layer_norm(total, (48,), eps=1e-7))
    model.detected(batch, model.embedded(tokens.repeat(90))).sum().backward()
    assert shared.grad is None and difference.grad[3].any() and difference.grad[5].any()
    assert not difference.grad[4].any()
    difference.grad = None
    output = model(batch)
    (output.loss - 50 / batch.totals["tokens"] * output.sums["rtd_loss"]).backward()
    assert shared.grad.any() and all(parameter.grad is not None for parameter in model.parameters())


def test_an_export_of_masked_tokens_keeps_the_decoder(tmp_path):
    """Classes of transformers load the export with all their weights; the import has the decoder's positions, too. A
    directory without them is a model without a decoder.
    """
    write_tokenizer(tmp_path / "tokenizer", VOCAB_SIZE)
    model, out = built(), tmp_path / "out"
    export(FAMILY, model.state_dict(), CONFIG, tmp_path / "tokenizer", out, "# A card\n")
    for name in ("DebertaV2ForMaskedLM", "DebertaV2Model"):
        loaded, report = getattr(transformers, name).from_pretrained(out, output_loading_info=True)
        assert not report["missing_keys"], name
    assert len(fill_masks(out, "w1 [MASK] w2")[0]) == 5
    with torch.no_grad():
        hidden = loaded(**padded(deberta_batch())[0]).last_hidden_state[padded(deberta_batch())[1]]
        assert (hidden - model.hidden(deberta_batch())).abs().max() <= TOLERANCE
    back = read_model(FAMILY, registry.read(out))
    assert back.config == CONFIG and not back.new and not back.left_out
    assert all(torch.equal(back.state_dict[name], value) for name, value in model.state_dict().items())
    plain, _ = form_of(FAMILY, huggingface_of(PLAIN).state_dict(), "")
    assert plain.applies(PLAIN)


def test_an_export_of_replaced_tokens_has_the_sum_of_the_embeddings(tmp_path):
    """The encoder's directory has the sum of shared embedding and difference, and the generator is in a directory
    within it; both are imported as they were, up to the rounding of the sum.
    """
    write_tokenizer(tmp_path / "tokenizer", VOCAB_SIZE)
    model, out, form = built(REPLACED), tmp_path / "out", FAMILY.of(REPLACED)
    export(FAMILY, model.state_dict(), REPLACED, tmp_path / "tokenizer", out, "# A card\n")
    for name, directory in (("AutoModel", out), ("AutoModelForMaskedLM", out / "generator")):
        _, report = getattr(transformers, name).from_pretrained(directory, output_loading_info=True)
        assert not report["missing_keys"], name
    total = model.generator.embeddings.word.weight + model.encoder.embeddings.word.weight
    assert torch.equal(load_file(out / "model.safetensors")["embeddings.word_embeddings.weight"], total)
    back = read_model(FAMILY, registry.read(out))
    assert back.form is form and back.config == REPLACED
    for name, value in model.state_dict().items():
        torch.testing.assert_close(back.state_dict[name], value, rtol=0, atol=1e-6)
    tied = [back.state_dict[name] for name in ("generator.embeddings.word.weight", "generator_head.decoder.weight")]
    assert tied[0].data_ptr() == tied[1].data_ptr()
    with pytest.raises(ValueError, match="generator: num_hidden_layers = 2: must be 1 beside an encoder"):
        joined((REPLACED, replace(REPLACED.generator, num_hidden_layers=2)))


def test_names_of_the_released_models_are_read():
    """The head of masked tokens is read under the names that the released files give it."""
    state = huggingface_of(replace(CONFIG)).state_dict()
    other = {}
    for name, value in state.items():
        if name == "cls.predictions.bias":
            other["lm_predictions.lm_head.bias"] = value
        elif name.startswith("cls.predictions.transform."):
            other["lm_predictions.lm_head." + name.removeprefix("cls.predictions.transform.")] = value
        elif not name.startswith("cls."):
            other[name] = value
    form = FAMILY.of(PLAIN)
    one, two = from_huggingface(form, state), from_huggingface(form, other)
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("size", "encoder", "generator"),
    [("xsmall", 70.7, 60.3), ("small", 141.3, 120.8), ("base", 183.8, 142.0), ("large", 434.0, 284.0)],
)
def test_sizes_are_those_of_the_released_models(size, encoder, generator):
    """The parts of each recipe have as many parameters as the classes of transformers with the released shapes."""
    config = parse(["--recipe", f"deberta_v3_{size}"]).model
    with torch.device("meta"):
        whole = build(config, 128100)
        models = [
            getattr(transformers, name)(transformers.DebertaV2Config(**config_to(each, 128100)))
            for name, each in (("DebertaV2Model", config), ("DebertaV2ForMaskedLM", config.generator))
        ]
    numbers = [sum(parameter.numel() for parameter in model.parameters()) for model in models]
    further = sum(p.numel() for module in (whole.detection_head, whole.mask_decoder) for p in module.parameters())
    assert sum(parameter.numel() for parameter in whole.parameters()) == sum(numbers) + further
    assert [round(number / 1e6, 1) for number in numbers] == [encoder, generator]


@pytest.mark.parametrize(("size", "millions"), [("xlarge", 887.1), ("xxlarge", 1567.0)])
def test_sizes_with_a_convolution_are_those_of_the_released_models(size, millions):
    """The recipes of version 2 have as many parameters as the class of transformers with the released shapes, and the
    positions of the mask decoder.
    """
    config = parse(["--recipe", f"deberta_v2_{size}"]).model
    with torch.device("meta"):
        whole = build(config, 128100)
        theirs = transformers.DebertaV2ForMaskedLM(transformers.DebertaV2Config(**config_to(config, 128100)))
    number, further = (
        sum(p.numel() for p in theirs.parameters()),
        sum(p.numel() for p in whole.mask_decoder.parameters()),
    )
    assert sum(parameter.numel() for parameter in whole.parameters()) == number + further
    assert round(number / 1e6, 1) == millions


def test_operations_of_a_generator_with_half_as_many_layers_are_counted():
    """Attention is computed once in each layer, and twice in the last layer of the generator."""
    costs = [
        measure(lambda config: build(config, VOCAB_SIZE), replace(REPLACED, num_hidden_layers=layers)).per_pair
        for layers in (2, 6)
    ]
    assert costs[1] / costs[0] == (6 + 3 + 1) / (2 + 1 + 1)


def test_single_tokens_are_masked_without_whole_words():
    """Without whole words, single text tokens are masked; above a fraction all of them become the mask token."""
    special = SpecialTokens({"cls": 2, "sep": 3, "mask": 4, "pad": 0}, np.arange(50) < 5, np.arange(50) % 2 > 0)
    texts = [np.random.default_rng(n).integers(5, 50, 100) for n in range(20)]
    packed = pack(FAMILY.template, texts, np.full(20, 100), special.ids)
    draw = Draw(0, np.zeros(20, np.int64), np.arange(20))
    masking = DebertaMasking(whole_words=False, mask_only_above=0.1)
    counts = masking.counts(np.diff(packed.cu_seqlens), draw)
    corrupted = masking.apply(packed, counts, draw, special)
    positions = corrupted.targets["positions"]
    assert counts.tolist() == [15] * 20 and packed.is_text[positions].all()
    assert (corrupted.input_ids[positions] == 4).all()
    assert (corrupted.targets["labels"] == packed.input_ids[positions]).all()
    words = DebertaMasking(mask_only_above=0.1).apply(packed, counts, draw, special).targets["positions"]
    assert not np.array_equal(positions, words)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("objective", "electra", "model.objective = electra: must be one of masked, masked_plain, replaced"),
        ("position_buckets", 2, "model.position_buckets = 2: must be at least 4"),
        ("attention", "flash_attn", "model.attention = flash_attn: has no scores of relative positions"),
    ],
)
def test_a_wrong_field_is_named(field, value, message):
    """A value that the model does not support is an error that names the field."""
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pos_att_type", ["c2p"]),
        ("share_att_key", False),
        ("norm_rel_ebd", "none"),
        ("position_biased_input", True),
        ("max_relative_positions", 100),
        ("conv_kernel_size", 5),
        ("position_buckets", None),
    ],
)
def test_an_unsupported_configuration_is_named(field, value):
    """A field of a configuration that the family does not support is an error that names it."""
    with pytest.raises(ValueError, match=f"config.json: {field} = "):
        config_from(transformers.DebertaV2Config(**config_to(CONFIG, VOCAB_SIZE)).to_dict() | {field: value})


def test_every_field_is_exported_but_those_of_training():
    """Export and import keep every field except those that are no property of the trained encoder."""
    config = DebertaConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        hidden_act="gelu_new",
        hidden_dropout_prob=0.2,
        attention_probs_dropout_prob=0.3,
        layer_norm_eps=1e-5,
        initializer_range=0.03,
        position_buckets=8,
        convolution=True,
    )
    assert_fields_return(config, FIELDS_OF_OURS - {"convolution"}, transformers.DebertaV2Config, config_to, config_from)

"""fairseq's RoBERTa is read with all its weights, in the order of the tokenizer."""

import json
from argparse import Namespace

import pytest
import torch
import transformers
from pretrained_models import SIZES, assert_same_model, randomized

from pipeline.checkpoints import checkpoint
from pipeline.conversion.importing import ImportOptions, import_pretrained
from pipeline.conversion.layouts import fairseq, registry
from pipeline.conversion.pretrained import read_pretrained
from pipeline.families.roberta import FAMILY

MERGES = ["t h", "th e", "c a"]
WORDS = ["the", "a", "c", "t", "h", "e", "th", "ca"]
TOKENS = ["<s>", "<pad>", "</s>", "<unk>", *WORDS, "<mask>"]
ARGS = {"encoder_attention_heads": 2, "dropout": 0.1, "attention_dropout": 0.1, "activation_fn": "gelu"}
MODULES = {
    "attention.self.query": "self_attn.q_proj",
    "attention.self.key": "self_attn.k_proj",
    "attention.self.value": "self_attn.v_proj",
    "attention.output.dense": "self_attn.out_proj",
    "attention.output.LayerNorm": "self_attn_layer_norm",
    "intermediate.dense": "fc1",
    "output.dense": "fc2",
    "output.LayerNorm": "final_layer_norm",
}


@pytest.fixture(scope="module")
def model():
    """A RoBERTa of `transformers`, without a segment embedding, which fairseq does not have."""
    torch.manual_seed(0)
    config = transformers.RobertaConfig(
        vocab_size=len(TOKENS), max_position_embeddings=20, type_vocab_size=1, layer_norm_eps=1e-5, **SIZES
    )
    model = randomized(transformers.RobertaForMaskedLM(config))
    torch.nn.init.zeros_(model.roberta.embeddings.token_type_embeddings.weight)
    return model


def written(model, top="decoder", is_fused=False):
    """The state of fairseq for the model."""
    theirs, state = model.state_dict(), {f"{top}.sentence_encoder.version": torch.tensor([3.0])}
    for name, ours in (
        ("embed_tokens", "word_embeddings"),
        ("embed_positions", "position_embeddings"),
        ("layernorm_embedding" if is_fused else "emb_layer_norm", "LayerNorm"),
    ):
        for kind in ("weight", "bias"):
            if f"roberta.embeddings.{ours}.{kind}" in theirs:
                state[f"{top}.sentence_encoder.{name}.{kind}"] = theirs[f"roberta.embeddings.{ours}.{kind}"]
    for number in range(2):
        place, to = f"roberta.encoder.layer.{number}", f"{top}.sentence_encoder.layers.{number}"
        for kind in ("weight", "bias"):
            state |= {f"{to}.{name}.{kind}": theirs[f"{place}.{ours}.{kind}"] for ours, name in MODULES.items()}
            if is_fused:
                parts = [state.pop(f"{to}.self_attn.{part}_proj.{kind}") for part in "qkv"]
                state[f"{to}.self_attn.in_proj_{kind}"] = torch.cat(parts)
    head = {"weight": "decoder.weight", "bias": "bias"}
    head |= {
        f"{module}.{kind}": f"{module}.{kind}" for module in ("dense", "layer_norm") for kind in ("weight", "bias")
    }
    return state | {f"{top}.lm_head.{name}": theirs[f"lm_head.{ours}"] for name, ours in head.items()}


def save(directory, model, words=WORDS, args=ARGS, **names):
    """Write a checkpoint of fairseq with the merges of its tokenizer."""
    directory.mkdir()
    torch.save({"model": written(model, **names), "args": Namespace(**args)}, directory / "model.pt")
    (directory / "dict.txt").write_text("".join(f"{word} 9\n" for word in words))
    (directory / "vocab.bpe").write_text("\n".join(["#version: 0.2", *MERGES]) + "\n")
    return directory


def read(directory):
    return read_pretrained(FAMILY, registry.read(directory, allow_pickle=True))


@pytest.mark.parametrize("names", [{}, {"top": "encoder"}, {"is_fused": True}])
def test_a_checkpoint_has_the_weights_and_logits_of_its_model(model, tmp_path, names):
    """Under the names of each version, weights are equal bit for bit and logits are equal."""
    assert_same_model(read(save(tmp_path / "f", model, **names)), model)


def test_words_may_be_ids_of_gpt2(model, tmp_path):
    """Ids of GPT-2's vocabulary stand for bytes and merges; the tokenizer has its tokens in the order of the rows."""
    known = fairseq.gpt2_tokens(MERGES)
    assert len(known) == 256 + len(MERGES) + 1 and known[0] == "!" and known[220] == "\u0120" and known[257] == "the"
    directory = save(tmp_path / "f", model, [str(known.index(word)) for word in WORDS])
    import_pretrained(directory, tmp_path / "new", ImportOptions(allow_pickle=True))
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "new" / "tokenizer")
    assert tokenizer("the")["input_ids"] == [0, TOKENS.index("the"), 2]
    assert tokenizer.mask_token_id == len(TOKENS) - 1
    (directory / "dict.txt").write_text("99999 1\n")
    with pytest.raises(ValueError, match="id 99999 of GPT-2's vocabulary is not among its merges"):
        read(directory)


def test_rows_follow_the_tokenizer(model, tmp_path):
    """A tokenizer with another order of its tokens gets the row of each of its tokens, and a line says so."""
    directory = save(tmp_path / "f", model)
    order = [0, 1, 2, 3, *range(11, 3, -1), 12]
    (directory / "vocab.json").write_text(json.dumps({TOKENS[row]: number for number, row in enumerate(order)}))
    (directory / "merges.txt").write_text((directory / "vocab.bpe").read_text())
    lines = import_pretrained(directory, tmp_path / "new", ImportOptions(allow_pickle=True))
    assert "rows of the embeddings were put into the order of the tokenizer" in lines
    found = dict(checkpoint.Reader(tmp_path / "new").tensors())
    embeddings = model.roberta.embeddings.word_embeddings.weight
    assert torch.equal(found["encoder.embeddings.word.weight"], embeddings[order])
    assert torch.equal(found["mlm_head.decoder.bias"], model.lm_head.bias[order])
    (directory / "vocab.json").write_text(json.dumps({"other": 0}))
    with pytest.raises(ValueError, match=r"the tokenizer has 'other', but dict\.txt does not"):
        read(directory)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"words": WORDS[:-1]}, r"dict\.txt: names 12 tokens, special ones included, but model\.pt has 13 rows"),
        ({"args": {}}, "its options lack encoder_attention_heads"),
        ({"args": ARGS | {"encoder_normalize_before": True}}, "normalises behind each sub-layer"),
        ({"args": ARGS | {"activation_fn": "relu"}}, "args: hidden_act = 'relu'"),
        ({"top": "other"}, r"lacks roberta\.embeddings\.word_embeddings\.weight under fairseq's name"),
    ],
)
def test_what_does_not_fit_is_one_error(model, tmp_path, change, message):
    """Another dictionary, missing options and another architecture are errors that name the file."""
    directory = save(tmp_path / "f", model, **change)
    with pytest.raises(ValueError, match=message) as error:
        read(directory)
    assert str(directory) in str(error.value) and "\n" not in str(error.value)

"""Megatron-LM's BERT with residual connections behind the normalisations is the original BERT."""

from argparse import Namespace

import pytest
import torch
from pretrained_models import assert_same_model, bert, write_vocabulary
from torch.nn.functional import gelu, layer_norm, linear

from pipeline.conversion.importing import ImportOptions, import_pretrained
from pipeline.conversion.layouts import registry
from pipeline.conversion.pretrained import read_pretrained
from pipeline.families.bert import FAMILY

HEADS, LAYERS, EPS = 2, 2, 1e-12
ARGS = {
    "num_layers": LAYERS,
    "hidden_size": 16,
    "num_attention_heads": HEADS,
    "ffn_hidden_size": 24,
    "max_position_embeddings": 32,
    "hidden_dropout": 0.1,
    "attention_dropout": 0.1,
    "layernorm_epsilon": EPS,
    "bias_gelu_fusion": False,
    "apply_residual_connection_post_layernorm": True,
}


@pytest.fixture(scope="module")
def model():
    """A BERT of `transformers`."""
    return bert()


def fused(parts, version):
    """Query, key and value (heads * width, ...) as one tensor in the order of a version."""
    parts = torch.stack([part.unflatten(0, (HEADS, -1)) for part in parts])  # (3, heads, width, ...)
    order = {0: parts, 1: parts.movedim(0, 2), 2: parts.transpose(0, 1), 3: parts.transpose(0, 1)}[version]
    return order.reshape(-1, *parts.shape[3:])


def written(model, version, module="attention", encoder="transformer"):
    """The state of Megatron for the model."""
    theirs = model.state_dict()

    def both(name):
        return {kind: theirs[f"{name}.{kind}"] for kind in ("weight", "bias")}

    layers = {f"final_layernorm.{k}": v for k, v in both(f"bert.encoder.layer.{LAYERS - 1}.output.LayerNorm").items()}
    for number in range(LAYERS):
        place = f"bert.encoder.layer.{number}"
        before = f"bert.encoder.layer.{number - 1}.output.LayerNorm" if number else "bert.embeddings.LayerNorm"
        modules = {
            "input_layernorm": both(before),
            f"{module}.dense": both(f"{place}.attention.output.dense"),
            "post_attention_layernorm": both(f"{place}.attention.output.LayerNorm"),
            "mlp.dense_h_to_4h": both(f"{place}.intermediate.dense"),
            "mlp.dense_4h_to_h": both(f"{place}.output.dense"),
        }
        for kind in ("weight", "bias"):
            parts = [theirs[f"{place}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
            layers[f"layers.{number}.{module}.query_key_value.{kind}"] = fused(parts, version)
        layers |= {f"layers.{number}.{name}.{k}": v for name, pair in modules.items() for k, v in pair.items()}
    table = {name: {"weight": theirs[f"bert.embeddings.{ours}.weight"]} for name, ours in EMBEDDINGS.items()}
    head = both("cls.predictions.transform.dense"), both("cls.predictions.transform.LayerNorm")
    return {
        "language_model": {
            "embedding": table,
            encoder: layers,
            "pooler": {f"dense.{k}": v for k, v in both("bert.pooler.dense").items()},
        },
        "lm_head": {
            **{f"dense.{k}": v for k, v in head[0].items()},
            **{f"layernorm.{k}": v for k, v in head[1].items()},
            "bias": theirs["cls.predictions.bias"],
        },
        "binary_head": both("cls.seq_relationship"),
    }


EMBEDDINGS = {
    "word_embeddings": "word_embeddings",
    "position_embeddings": "position_embeddings",
    "tokentype_embeddings": "token_type_embeddings",
}


def save(directory, model, version=3, rank="", args=None, **names):
    """Write a checkpoint of Megatron."""
    write_vocabulary(directory)
    (directory / rank).mkdir(exist_ok=True)
    content = {"model": written(model, version, **names), "checkpoint_version": float(version), "iteration": 5}
    content |= {"args": Namespace(**(ARGS | (args or {}))), "optimizer": {}}
    torch.save(content, directory / rank / "model_optim_rng.pt")
    return directory


@pytest.mark.parametrize(
    ("version", "names"),
    [(0, {}), (1, {}), (2, {"rank": "mp_rank_00"}), (3, {"module": "self_attention", "encoder": "encoder"})],
)
def test_a_checkpoint_has_the_weights_and_logits_of_its_model(model, tmp_path, version, names):
    """In every version's order of query, key and value, weights are equal bit for bit and logits are equal."""
    source = registry.read(save(tmp_path / "m", model, version, **names), allow_pickle=True)
    assert_same_model(read_pretrained(FAMILY, source), model)
    assert source.left_out == ("iteration", "optimizer")


def test_the_written_state_is_computed_as_megatron_computes(model):
    """The layers of Megatron, with residual connections behind the normalisations, compute the hidden states."""
    state = written(model, 0)["language_model"]
    layers, ids = state["transformer"], torch.tensor([2, 5, 6, 7, 3])

    def norm(x, name):
        return layer_norm(x, (16,), layers[f"{name}.weight"], layers[f"{name}.bias"], EPS)

    def dense(x, name):
        return linear(x, layers[f"{name}.weight"], layers[f"{name}.bias"])

    table = {name: entry["weight"] for name, entry in state["embedding"].items()}
    x = table["word_embeddings"][ids] + table["position_embeddings"][:5] + table["tokentype_embeddings"][0]
    for number in range(LAYERS):
        x = norm(x, f"layers.{number}.input_layernorm")
        query, key, value = dense(x, f"layers.{number}.attention.query_key_value").unflatten(1, (3, HEADS, 8)).unbind(1)
        scores = torch.einsum("qhd,khd->hqk", query, key) / 8**0.5
        mixed = torch.einsum("hqk,khd->qhd", scores.softmax(-1), value).flatten(1)
        x = norm(x + dense(mixed, f"layers.{number}.attention.dense"), f"layers.{number}.post_attention_layernorm")
        wide = gelu(dense(x, f"layers.{number}.mlp.dense_h_to_4h"))
        x = x + dense(wide, f"layers.{number}.mlp.dense_4h_to_h")
    with torch.no_grad():
        expected = model.bert(ids[None]).last_hidden_state[0]
    assert (norm(x, "final_layernorm") - expected).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"apply_residual_connection_post_layernorm": False}, "a model with normalisation before each sub-layer"),
        ({"apply_residual_connection_post_layernorm": None}, "lack apply_residual_connection_post_layernorm"),
        ({"tensor_model_parallel_size": 2}, "tensor_model_parallel_size = 2: a part of the model"),
        ({"num_attention_heads": 3}, "query_key_value does not divide into 3 heads"),
        ({"ffn_hidden_size": 32}, r"intermediate.weight is \(24, 16\) in the weights, \(32, 16\) according to args"),
        ({"num_layers": 3}, "unknown|num_hidden_layers = 3"),
    ],
)
def test_what_does_not_fit_is_one_error(model, tmp_path, args, message):
    """A model of another architecture, a part of one, and options of another model are errors that name the file."""
    directory = save(tmp_path / "m", model, args=args)
    with pytest.raises(ValueError, match=message) as error:
        read_pretrained(FAMILY, registry.read(directory, allow_pickle=True))
    assert str(directory / "model_optim_rng.pt") in str(error.value) and "\n" not in str(error.value)


def test_an_approximate_activation_is_said(model, tmp_path):
    """With the fused activation the model has the tanh approximation, and a line says so."""
    directory = save(tmp_path / "m", model, args={"bias_gelu_fusion": True})
    lines = import_pretrained(directory, tmp_path / "new", ImportOptions(allow_pickle=True))
    assert any("tanh approximation" in line for line in lines)

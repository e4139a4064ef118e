"""Megatron-LM's BERT is MegatronBert, and with residual connections behind the normalisations the original BERT."""

import json
from argparse import Namespace

import pytest
import torch
import transformers
from pretrained_models import SIZES, VOCABULARY, assert_same_model, bert, randomized, write_vocabulary
from torch.nn.functional import gelu, layer_norm, linear

from pipeline.conversion.importing import ImportOptions, import_pretrained
from pipeline.conversion.layouts import registry
from pipeline.conversion.pretrained import read_pretrained
from pipeline.families import megatron_bert
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


PRE_NORM = {"apply_residual_connection_post_layernorm": False}


@pytest.fixture(scope="module")
def model():
    """A BERT of `transformers`."""
    return bert()


@pytest.fixture(scope="module")
def pre_norm_model():
    """A MegatronBert of `transformers`."""
    torch.manual_seed(0)
    config = transformers.MegatronBertConfig(
        vocab_size=len(VOCABULARY), max_position_embeddings=32, layer_norm_eps=EPS, **SIZES
    )
    return randomized(transformers.MegatronBertForPreTraining(config))


def fused(parts, version):
    """Query, key and value (heads * width, ...) as one tensor in the order of a version."""
    parts = torch.stack([part.unflatten(0, (HEADS, -1)) for part in parts])  # (3, heads, width, ...)
    order = {0: parts, 1: parts.movedim(0, 2), 2: parts.transpose(0, 1), 3: parts.transpose(0, 1)}[version]
    return order.reshape(-1, *parts.shape[3:])


def norm_names(pre_norm):
    """Names of the normalisations in `transformers` by their names in Megatron and their layers."""
    place = "bert.encoder.layer.{}"
    if pre_norm:
        names = {"final_layernorm": "bert.encoder.ln"}
        names |= {("input_layernorm", number): f"{place.format(number)}.attention.ln" for number in range(LAYERS)}
        return names | {("post_attention_layernorm", n): f"{place.format(n)}.ln" for n in range(LAYERS)}
    names = {"final_layernorm": f"{place.format(LAYERS - 1)}.output.LayerNorm"}
    names |= {("input_layernorm", n): f"{place.format(n - 1)}.output.LayerNorm" for n in range(1, LAYERS)}
    names |= {("post_attention_layernorm", n): f"{place.format(n)}.attention.output.LayerNorm" for n in range(LAYERS)}
    return names | {("input_layernorm", 0): "bert.embeddings.LayerNorm"}


def written(model, version, module="attention", encoder="transformer"):
    """The state of Megatron for the model."""
    theirs = model.state_dict()

    def both(name):
        return {kind: theirs[f"{name}.{kind}"] for kind in ("weight", "bias")}

    norms = norm_names("bert.encoder.ln" in {name.rpartition(".")[0] for name in theirs})
    layers = {f"final_layernorm.{k}": v for k, v in both(norms["final_layernorm"]).items()}
    for number in range(LAYERS):
        place = f"bert.encoder.layer.{number}"
        modules = {
            "input_layernorm": both(norms["input_layernorm", number]),
            f"{module}.dense": both(f"{place}.attention.output.dense"),
            "post_attention_layernorm": both(norms["post_attention_layernorm", number]),
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


@pytest.mark.parametrize("version", [0, 3])
def test_a_model_with_normalisation_before_the_sub_layers_is_a_megatron_bert(pre_norm_model, tmp_path, version):
    """Without the option, the model is of the family megatron_bert, with its weights and logits."""
    source = registry.read(save(tmp_path / "m", pre_norm_model, version, args=PRE_NORM), allow_pickle=True)
    assert_same_model(read_pretrained(megatron_bert.FAMILY, source), pre_norm_model)
    lines = import_pretrained(tmp_path / "m", tmp_path / "new", ImportOptions(allow_pickle=True))
    assert "(MegatronBertForPreTraining)" in lines[0]
    assert json.loads((tmp_path / "new" / "state.json").read_text())["family"] == "megatron_bert"


def test_a_file_without_options_takes_them_from_a_configuration(pre_norm_model, tmp_path):
    """Early versions saved no options: a config.json beside the file has them, without it the error says so, and one of
    another model is an error.
    """
    directory = save(tmp_path / "m", pre_norm_model, 0)
    content = torch.load(directory / "model_optim_rng.pt", weights_only=False)
    torch.save({"model": content["model"]}, directory / "model_optim_rng.pt")
    with pytest.raises(ValueError, match=r"holds no options of the trainer, .* put a config\.json with"):
        registry.read(directory, allow_pickle=True)
    (directory / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match=r"config\.json: model_type = 'bert': must be 'megatron-bert' beside"):
        registry.read(directory, allow_pickle=True)
    fields = {"model_type": "megatron-bert", "layer_norm_eps": EPS, "max_position_embeddings": 32, **SIZES}
    (directory / "config.json").write_text(json.dumps(fields))
    source = registry.read(directory, allow_pickle=True)
    assert_same_model(read_pretrained(megatron_bert.FAMILY, source), pre_norm_model)


def test_weights_of_transformers_come_first(pre_norm_model, tmp_path):
    """A directory into which the checkpoint was converted is one of transformers."""
    directory = save(tmp_path / "m", pre_norm_model, args=PRE_NORM)
    assert registry.detect(directory) == "megatron"
    pre_norm_model.save_pretrained(directory)
    assert registry.detect(directory) == "huggingface"


@pytest.mark.parametrize("pre_norm", [False, True])
def test_the_written_state_is_computed_as_megatron_computes(model, pre_norm_model, pre_norm):
    """The layers of Megatron compute the hidden states: residual connections begin before the normalisations, or with
    its option behind them.
    """
    model = pre_norm_model if pre_norm else model
    state = written(model, 0)["language_model"]
    layers, ids = state["transformer"], torch.tensor([2, 5, 6, 7, 3])

    def norm(x, name):
        return layer_norm(x, (16,), layers[f"{name}.weight"], layers[f"{name}.bias"], EPS)

    def dense(x, name):
        return linear(x, layers[f"{name}.weight"], layers[f"{name}.bias"])

    table = {name: entry["weight"] for name, entry in state["embedding"].items()}
    x = table["word_embeddings"][ids] + table["position_embeddings"][:5] + table["tokentype_embeddings"][0]
    for number in range(LAYERS):
        normed = norm(x, f"layers.{number}.input_layernorm")
        query, key, value = (
            dense(normed, f"layers.{number}.attention.query_key_value").unflatten(1, (3, HEADS, 8)).unbind(1)
        )
        scores = torch.einsum("qhd,khd->hqk", query, key) / 8**0.5
        mixed = torch.einsum("hqk,khd->qhd", scores.softmax(-1), value).flatten(1)
        x = (x if pre_norm else normed) + dense(mixed, f"layers.{number}.attention.dense")
        normed = norm(x, f"layers.{number}.post_attention_layernorm")
        wide = gelu(dense(normed, f"layers.{number}.mlp.dense_h_to_4h"))
        x = (x if pre_norm else normed) + dense(wide, f"layers.{number}.mlp.dense_4h_to_h")
    with torch.no_grad():
        expected = model.bert(ids[None]).last_hidden_state[0]
    assert (norm(x, "final_layernorm") - expected).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"num_layers": "2"}, "num_layers = '2': must be a whole number from 1 on"),
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

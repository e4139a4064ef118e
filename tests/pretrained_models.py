"""Small pre-trained models on disk, for tests of imports."""

import json
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

from pipeline.conversion.names import to_huggingface

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "##s", "dog", "##gy"]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}


def bert(model_class: str = "BertForPreTraining", rows: int = len(VOCABULARY)) -> transformers.PreTrainedModel:
    """Return a model of `transformers` in which every parameter differs from its initial constant."""
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=rows, max_position_embeddings=32, **SIZES)
    return randomized(getattr(transformers, model_class)(config))


def randomized(model: transformers.PreTrainedModel) -> transformers.PreTrainedModel:
    """Return the model with random values in all parameters."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model.eval()


def saved(model: transformers.PreTrainedModel, directory: Path) -> Path:
    """Write a model and `vocab.txt` to a directory."""
    model.save_pretrained(directory)
    write_vocabulary(directory)
    return directory


def write_vocabulary(directory: Path) -> None:
    """Write the vocabulary as `vocab.txt` alone, as google-research and NVIDIA do."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")


def rewrite(directory, change) -> None:
    """Change the tensors of a saved model."""
    tensors = load_file(directory / "model.safetensors")
    change(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, directory / "model.safetensors")


def reconfigure(directory: Path, **values) -> None:
    """Change the configuration of a saved model."""
    settings = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**settings, **values}))


def assert_same_model(pretrained, model: transformers.PreTrainedModel) -> None:
    """Check that what was imported has the weights of a model bit for bit, and computes its logits."""
    found, expected = to_huggingface(pretrained.form, pretrained.state_dict), model.state_dict()
    assert dict(model.named_parameters()).keys() <= found.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.items() if name in expected)
    fields = pretrained.form.export.config_to(pretrained.config, pretrained.vocab_size)
    again = type(model)(type(model.config)(**{"pad_token_id": model.config.pad_token_id, **fields})).eval()
    again.load_state_dict(found, strict=False)
    ids = torch.arange(2, pretrained.vocab_size)[None]
    with torch.no_grad():
        for theirs, ours in zip(model(ids).to_tuple(), again(ids).to_tuple(), strict=True):
            assert torch.equal(theirs, ours)

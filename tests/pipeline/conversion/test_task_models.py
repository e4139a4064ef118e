"""Law 7 for fine-tuned models of every family, and where a task model can begin."""

import json

import numpy as np
import pytest
import torch
import transformers
from finetuning_data import (
    VOCAB_SIZE,
    write_albert,
    write_deberta,
    write_distilbert,
    write_electra,
    write_megatron_bert,
    write_model,
    write_modernbert,
    write_roberta,
)
from safetensors.torch import load_file, save_file

from pipeline.conversion import huggingface, task_models
from pipeline.families import get_family
from pipeline.tasks.encoding import Sequences, batch_of, encode, tokens_of

WRITERS = {
    "bert": write_model,
    "roberta": write_roberta,
    "albert": write_albert,
    "electra": write_electra,
    "distilbert": write_distilbert,
    "deberta": write_deberta,
    "megatron_bert": write_megatron_bert,
    "modernbert": write_modernbert,
}
HEADS = {"sequence": ("a", "b", "c"), "tokens": ("a", "b", "c"), "spans": ("LABEL_0", "LABEL_1"), "choices": ()}
"""Heads -> names of the classes."""
OUTPUTS = {"spans": 2, "choices": 1}
"""Numbers of logits, where it is not 3."""
FIELDS = {"id2label": {0: "a", 1: "b", 2: "c"}, "label2id": {"a": 0, "b": 1, "c": 2}}


@pytest.fixture(scope="module", params=WRITERS)
def pretrained(request, tmp_path_factory):
    """(family, directory of a pre-trained model)."""
    directory = WRITERS[request.param](tmp_path_factory.mktemp("models") / request.param)
    return get_family(request.param), directory


def begin(family, directory, outputs=3, vocab_size=VOCAB_SIZE, head="sequence"):
    return task_models.begin(directory, family, family.heads[head], outputs, 0.1, vocab_size=vocab_size, seed=5)


def batch_for(family, directory):
    """Return a batch of pairs of texts of different lengths."""
    tokenizer = huggingface.load_tokenizer(directory)
    ids = {role: getattr(tokenizer, f"{role}_token_id") for role in ("cls", "sep", "pad")}
    sequences = Sequences(tokens_of(tokenizer), ids, family.template, 32)
    encoded = encode([("w1 w2 w3", "w5 w6"), ("w9", "w1 w2 w3 w5"), ("w2 w3 w6 w7 w9", "w1")], sequences)
    return batch_of(encoded, np.arange(3), {}, sequences)


def write(family, begun, tokenizer, out, head="sequence", fields=FIELDS):
    weights = begun.model.state_dict()
    task_models.write(family, family.heads[head], weights, begun.config, fields, tokenizer, out, "# A card\n")


@pytest.mark.parametrize(("head", "labels"), HEADS.items())
def test_logits_equal_those_of_transformers_in_both_directions(pretrained, tmp_path, head, labels):
    """`transformers` computes the same logits from the directory, and so does the model that is read from it."""
    family, directory = pretrained
    begun, batch = begin(family, directory, OUTPUTS.get(head, 3), head=head), batch_for(family, directory)
    write(family, begun, directory, tmp_path / "out", head, FIELDS if labels == ("a", "b", "c") else {})
    with torch.inference_mode():
        logits = begun.model.eval()(batch)
        read = task_models.read(tmp_path / "out")
        # A product with one column is rounded as the address of its weights has it.
        torch.testing.assert_close(read.model(batch), logits, rtol=0, atol=0 if logits.shape[1] > 1 else 1e-6)
    assert logits.abs().max() > 0.05 and (read.head, read.labels) == (head, labels)
    assert task_models.verify(tmp_path / "out", family.heads[head], batch, logits) <= 1e-5


def test_every_head_is_compared(pretrained):
    """A head without a comparison with `transformers` is an error."""
    assert pretrained[0].heads.keys() == HEADS.keys()


def test_an_export_that_computes_something_else_is_removed(pretrained, tmp_path):
    """An export whose logits differ is an error, and is removed."""
    family, directory = pretrained
    begun, batch = begin(family, directory), batch_for(family, directory)
    write(family, begun, directory, tmp_path / "out")
    with pytest.raises(ValueError, match="transformers computes other logits"):
        task_models.verify(tmp_path / "out", family.heads["sequence"], batch, torch.zeros(3, 3))
    assert not (tmp_path / "out").exists()


def test_the_encoder_begins_with_the_weights_of_the_directory(pretrained):
    """Encoder and pooler begin with the weights of the directory, and the classifier is drawn from the seed."""
    family, directory = pretrained
    one, other = begin(family, directory), begin(family, directory)
    assert all(map(torch.equal, one.model.state_dict().values(), other.model.state_dict().values()))
    theirs = load_file(directory / "model.safetensors")
    words = theirs[family.export.names(0)[family.word_embeddings][0]]
    assert torch.equal(one.model.encoder.embeddings.word.weight, words)
    # The pooler of DeBERTa is not pre-trained, and has no prefix of an encoder.
    assert all(name.startswith(("classifier", "pre_classifier", "pooler")) for name in one.new)
    if family.name == "bert":
        assert torch.equal(one.model.head.pooler.dense.weight, theirs["bert.pooler.dense.weight"])


def test_an_encoder_alone_and_a_fine_tuned_model_are_beginnings(tmp_path):
    """An encoder without a pooler and a model with other classes can be fine-tuned; what is missing is drawn anew."""
    directory, family = write_model(tmp_path / "model"), get_family("bert")
    whole = begin(family, directory)
    write(family, whole, directory, tmp_path / "tuned")
    encoder = transformers.BertModel.from_pretrained(directory, add_pooling_layer=False)
    encoder.save_pretrained(tmp_path / "encoder")
    tuned, alone = begin(family, tmp_path / "tuned", outputs=2), begin(family, tmp_path / "encoder")
    for begun in (tuned, alone):
        assert torch.equal(begun.model.encoder.layers[1].qkv.weight, whole.model.encoder.layers[1].qkv.weight)
    assert any("pooler" in name for name in alone.new) and not any("pooler" in name for name in tuned.new)


def test_rows_behind_the_last_token_are_left_out(pretrained):
    """Embeddings of a padded vocabulary are left out, and fewer rows than tokens are an error."""
    family, directory = pretrained
    assert len(begin(family, directory, vocab_size=50).model.encoder.embeddings.word.weight) == 50
    with pytest.raises(ValueError, match=f"the weights hold {VOCAB_SIZE} tokens, the tokenizer 70"):
        begin(family, directory, vocab_size=70)


def test_missing_and_misshapen_tensors_are_named(tmp_path):
    """A missing or misshapen tensor is an error that names the directory and a remedy."""
    directory, family = write_model(tmp_path / "model"), get_family("bert")
    tensors, path = load_file(directory / "model.safetensors"), directory / "model.safetensors"
    name = "bert.encoder.layer.1.output.dense.weight"
    save_file({key: value for key, value in tensors.items() if key != name}, path)
    with pytest.raises(ValueError, match=rf"model: .*missing {name}"):
        begin(family, directory)
    save_file(tensors | {name: tensors[name][:, :8].contiguous()}, path)
    with pytest.raises(ValueError, match=r"encoder.layers.1.output.weight is \(16, 8\) in the weights, \(16, 32\)"):
        begin(family, directory)


def test_only_task_models_are_read(tmp_path):
    """A pre-trained model has no classes; its class is named."""
    directory = write_model(tmp_path / "model")
    with pytest.raises(ValueError, match="architectures = 'BertForPreTraining': must be one of BertForSequence"):
        task_models.read(directory)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}))
    with pytest.raises(ValueError, match="model_type = 'gpt2': must be one of albert, bert, deberta-v2, distilbert"):
        task_models.read(directory)

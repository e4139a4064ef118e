"""ONNX Runtime computes the same as the model, for any batch and length; without its packages, the command says so."""

import pytest
import torch
import transformers
from finetuning_data import (
    write_albert,
    write_deberta,
    write_distilbert,
    write_electra,
    write_megatron_bert,
    write_model,
    write_modernbert,
    write_roberta,
    write_spanbert,
)

from pipeline.conversion import huggingface, onnx_export, verification
from pipeline.conversion.onnx_export import export_onnx
from pipeline.families import get_family


def test_absent_packages_are_one_error(tmp_path, monkeypatch):
    """An absent package is an error with the command that installs it, before anything is read."""
    monkeypatch.setattr(onnx_export, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(ValueError, match=r"convert onnx needs onnxscript, .* run pip install -r .*onnx.txt") as error:
        export_onnx(tmp_path / "model", tmp_path / "out")
    assert "\n" not in str(error.value)


def test_only_classes_of_the_family_are_read(tmp_path):
    """A model whose configuration names another class is an error that names those of the family."""
    model = write_model(tmp_path / "model")
    text = (model / "config.json").read_text().replace("BertForPreTraining", "BertGenerationDecoder")
    (model / "config.json").write_text(text)
    with pytest.raises(ValueError, match="architectures = 'BertGenerationDecoder': must be one of BertForMaskedLM"):
        huggingface.load_model(model, get_family("bert"))


OUTPUTS = {
    "bert": (write_model, {"prediction_logits", "seq_relationship_logits"}),
    "roberta": (write_roberta, {"logits"}),
    "albert": (write_albert, {"prediction_logits", "sop_logits"}),
    "electra": (write_electra, {"logits"}),
    "deberta": (write_deberta, {"logits"}),
    "distilbert": (write_distilbert, {"logits"}),
    "spanbert": (write_spanbert, {"logits"}),
    "megatron_bert": (write_megatron_bert, {"prediction_logits", "seq_relationship_logits"}),
    "modernbert": (write_modernbert, {"logits"}),
}
"""Family -> a function that writes a model of it, and the outputs of its class in `transformers`."""


def write_classifier(directory):
    """Write a fine-tuned classifier."""
    torch.manual_seed(0)
    source = write_model(directory.with_name("pretrained"))
    model = transformers.BertForSequenceClassification.from_pretrained(source, num_labels=3)
    torch.nn.init.normal_(model.classifier.weight)
    model.save_pretrained(directory)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(directory)
    return directory


CASES = [(family, *case) for family, case in OUTPUTS.items()] + [("bert", write_classifier, {"logits"})]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "write", "outputs"), CASES)
def test_onnx_runtime_computes_the_same(tmp_path, family, write, outputs):
    """Every output of the graph equals that of the model, also in a batch and length of its own."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    model = write(tmp_path / "model")
    differences = export_onnx(model, tmp_path / "new" / "out")
    assert differences.keys() == outputs and max(differences.values()) <= verification.TOLERANCE
    assert {"model.onnx", "config.json", "tokenizer.json"} <= {path.name for path in (tmp_path / "new/out").iterdir()}
    session = runtime.InferenceSession(tmp_path / "new" / "out" / "model.onnx")
    tokenizer, loaded = huggingface.load_tokenizer(model), huggingface.load_model(model, get_family(family))
    inputs = tokenizer(["w1"], return_tensors="pt", return_token_type_ids=get_family(family).template.segments)
    assert {each.name for each in session.get_inputs()} == inputs.keys()
    with torch.inference_mode():
        expected = loaded(**inputs)[0]
    found = session.run(None, {name: value.numpy() for name, value in inputs.items()})[0]
    assert (torch.from_numpy(found) - expected).abs().max() <= 1e-5 and expected.abs().max() > 0.01


def test_a_graph_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    """If a difference is too large, neither the directory nor a temporary one is left."""
    model = write_model(tmp_path / "model")
    monkeypatch.setattr(onnx_export, "require_packages", lambda: None)
    monkeypatch.setattr(onnx_export, "write_graph", lambda *_: None)
    monkeypatch.setattr(onnx_export, "compare", lambda *_: {"logits": 1e-3})
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(ValueError, match="ONNX Runtime computes other logits"):
        export_onnx(model, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == before

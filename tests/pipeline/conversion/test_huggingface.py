"""Laws of pipeline/conversion/huggingface.py."""

import json
import os
import stat
from dataclasses import asdict

import pytest
import torch
import transformers
from safetensors.torch import load_file
from tokenizers import BertWordPieceTokenizer

from pipeline.conversion import huggingface
from pipeline.conversion.huggingface import export, fill_masks
from pipeline.families.bert import FAMILY, BertConfig, build

CONFIG = BertConfig(
    hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, hidden_act="gelu_new"
)
# [PAD] is not where transformers expects it, so that the export has to say so.
VOCABULARY = ["the", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[PAD]", "cat", "sat", "##s"]


@pytest.fixture
def tokenizer_dir(tmp_path):
    """A tokenizer directory as preprocessing leaves it beside the shards."""
    directory = tmp_path / "tokenizer"
    backend = BertWordPieceTokenizer({token: i for i, token in enumerate(VOCABULARY)}, lowercase=True)
    transformers.BertTokenizerFast(tokenizer_object=backend._tokenizer).save_pretrained(directory)
    return directory


@pytest.fixture
def model():
    """A small BERT in which every parameter differs from its initial constant."""
    torch.manual_seed(0)
    model = build(CONFIG, len(VOCABULARY))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture
def exported(tokenizer_dir, model, tmp_path):
    """The directory of an export of `model`."""
    export(FAMILY, model.state_dict(), CONFIG, tokenizer_dir, tmp_path / "out", "# A card\n")
    return tmp_path / "out"


def logits_here(model, input_ids):
    length = input_ids.shape[1]
    hidden = model.encoder(
        input_ids[0],
        torch.zeros(length, dtype=torch.long),
        torch.arange(length),
        torch.tensor([0, length], dtype=torch.int32),
        length,
    )
    return model.mlm_head(hidden)


def test_the_export_computes_what_was_trained(exported, model):
    """The export, loaded with its own tokenizer by transformers, computes our logits to 1e-5 (law 7)."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
    inputs = tokenizer("The cats [MASK]", return_tensors="pt")
    assert tokenizer.convert_ids_to_tokens(inputs["input_ids"][0]) == ["[CLS]", "the", "cat", "##s", "[MASK]", "[SEP]"]
    theirs = transformers.BertForPreTraining.from_pretrained(exported).eval()
    with torch.no_grad():
        difference = theirs(**inputs).prediction_logits[0] - logits_here(model, inputs["input_ids"])
    assert difference.abs().max() <= 1e-5


@pytest.mark.parametrize(
    "name", ["BertForPreTraining", "BertForMaskedLM", "BertModel", "AutoModel", "AutoModelForMaskedLM"]
)
def test_transformers_loads_the_export(exported, name):
    """Each class of transformers that needs no new head finds all its weights, and the pre-training class uses all of
    them.
    """
    _, report = getattr(transformers, name).from_pretrained(exported, output_loading_info=True)
    assert not report["missing_keys"] and not report["mismatched_keys"]
    if name == "BertForPreTraining":
        assert not report["unexpected_keys"]
    assert all(key.startswith(("cls.", "bert.pooler.")) for key in report["unexpected_keys"])


def test_an_export_holds_what_a_hub_page_needs(exported, tokenizer_dir):
    """An export has weights, configuration, unchanged tokenizer files and a model card, and the tokenizer's padding
    token.
    """
    assert (exported / "README.md").read_text() == "# A card\n"
    for file in tokenizer_dir.iterdir():
        if file.name != "tokenizer_config.json":
            assert (exported / file.name).read_bytes() == file.read_bytes()
    settings = json.loads((exported / "config.json").read_text())
    assert settings["architectures"] == ["BertForPreTraining"]
    assert settings["pad_token_id"] == VOCABULARY.index("[PAD]")
    assert {name: settings[name] for name in asdict(CONFIG) if name in settings}["hidden_act"] == "gelu_new"
    assert (exported / "model.safetensors").stat().st_size > 0


def test_the_longest_text_is_the_models(tokenizer_dir, tmp_path):
    """The exported tokenizer cuts a text at the model's number of positions, whatever limit it stated before."""
    short = BertConfig(**{**asdict(CONFIG), "max_position_embeddings": 16})
    state = build(short, len(VOCABULARY)).state_dict()
    settings = json.loads((tokenizer_dir / "tokenizer_config.json").read_text())
    export(FAMILY, state, short, tokenizer_dir, tmp_path / "out", "")
    written = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert written == {**settings, "model_max_length": 16}
    long = "the [MASK] " + "cat " * 40
    inputs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")(long, truncation=True, return_tensors="pt")
    assert inputs["input_ids"].shape == (1, 16)
    assert transformers.BertModel.from_pretrained(tmp_path / "out")(**inputs).last_hidden_state.shape[1] == 16
    assert len(fill_masks(tmp_path / "out", long, 2)[0]) == 2
    with pytest.raises(ValueError, match=r"has no \[MASK\] in its first 16 tokens"):
        fill_masks(tmp_path / "out", "cat " * 40 + "[MASK]")


def test_a_tokenizer_that_states_more_than_the_model_reads_does_not_break_filling(exported):
    """For models of others, the shorter of the tokenizer's and the model's limits counts."""
    path = exported / "config.json"
    settings = json.loads((exported / "tokenizer_config.json").read_text())
    (exported / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": 10**9}))
    assert json.loads(path.read_text())["max_position_embeddings"] == 512
    assert len(fill_masks(exported, "[MASK] " + "cat " * 600, 1)) == 1


def test_a_shared_tensor_is_written_once(tokenizer_dir, model, tmp_path):
    """The decoder is not written beside the word embedding, even if the state dict holds it as a copy."""
    copies = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    export(FAMILY, copies, CONFIG, tokenizer_dir, tmp_path / "out", "")
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert sum(tensor.shape == (len(VOCABULARY), CONFIG.hidden_size) for tensor in written.values()) == 1


def test_of_a_model_directory_only_the_tokenizer_is_taken(exported, model, tmp_path):
    """From a tokenizer directory that also holds another model, no other file is exported."""
    settings = json.loads((exported / "config.json").read_text())
    (exported / "config.json").write_text(json.dumps({**settings, "hidden_size": 99}))
    export(FAMILY, model.state_dict(), CONFIG, exported, tmp_path / "again", "card")
    assert json.loads((tmp_path / "again" / "config.json").read_text())["hidden_size"] == CONFIG.hidden_size


def test_masks_are_filled_with_the_likeliest_tokens(exported, model):
    """Each mask gets the tokens with the largest softmax of our logits, in order, with one list per mask."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
    text = "[MASK] cats [MASK]"
    probabilities = logits_here(model, tokenizer(text, return_tensors="pt")["input_ids"]).softmax(1)
    for row, words in zip((1, 4), fill_masks(exported, text, 3), strict=True):
        values, tokens = probabilities[row].topk(3)
        assert [word for word, _ in words] == [tokenizer.decode([token]) for token in tokens.tolist()]
        assert [value for _, value in words] == pytest.approx(values.tolist(), abs=1e-5)
    with pytest.raises(ValueError, match=r"'the cat' has no \[MASK\]"):
        fill_masks(exported, "the cat")


def test_an_export_has_the_permissions_of_new_files(tokenizer_dir, model, tmp_path):
    """The files of an export have the permissions of the user's umask, weights included."""
    before = os.umask(0o027)
    try:
        export(FAMILY, model.state_dict(), CONFIG, tokenizer_dir, tmp_path / "out", "")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").iterdir()}
    assert set(modes.values()) == {0o640}, modes


def test_a_failed_export_leaves_nothing(tokenizer_dir, model, tmp_path, monkeypatch):
    """An error in the middle of writing leaves neither the directory nor a temporary one."""
    monkeypatch.setattr(huggingface.shutil, "copyfile", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        export(FAMILY, model.state_dict(), CONFIG, tokenizer_dir, tmp_path / "out", "")
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer"]


def test_an_export_draws_no_random_numbers(tokenizer_dir, model, tmp_path):
    """An export during a run does not change the run's next random numbers."""
    state = torch.get_rng_state()
    export(FAMILY, model.state_dict(), CONFIG, tokenizer_dir, tmp_path / "again", "")
    assert torch.equal(torch.get_rng_state(), state)


def test_an_existing_directory_is_never_overwritten(exported, tokenizer_dir, model):
    """Exporting to an existing directory is an error that names it."""
    with pytest.raises(ValueError, match="out exists already"):
        export(FAMILY, model.state_dict(), CONFIG, tokenizer_dir, exported, "")


def test_a_tokenizer_of_another_size_is_refused(tokenizer_dir, tmp_path):
    """A tokenizer and a model with different vocabulary sizes are refused, and the error gives both sizes."""
    larger = build(CONFIG, len(VOCABULARY) + 1)
    with pytest.raises(ValueError, match="has 9 tokens but the model's vocabulary has 10"):
        export(FAMILY, larger.state_dict(), CONFIG, tokenizer_dir, tmp_path / "out", "")


def test_parameters_of_another_shape_are_refused(tokenizer_dir, model, tmp_path):
    """A configuration that does not fit the parameters is an error that names a parameter."""
    wider = BertConfig(**{**asdict(CONFIG), "intermediate_size": 32})
    with pytest.raises(ValueError, match=r"do not fit the bert configuration(.|\n)*intermediate\.dense\.weight"):
        export(FAMILY, model.state_dict(), wider, tokenizer_dir, tmp_path / "out", "")


def test_a_directory_without_a_parameter_is_an_error(exported):
    """A class that would draw a parameter anew, or that leaves one out, is an error."""
    assert huggingface.load_whole(exported, "BertForPreTraining").dtype == torch.float32
    for model_class, kind in (("BertForTokenClassification", "missing"), ("BertForMaskedLM", "unexpected")):
        with pytest.raises(ValueError, match=f"transformers reports {kind} keys when it loads {model_class}"):
            huggingface.load_whole(exported, model_class)

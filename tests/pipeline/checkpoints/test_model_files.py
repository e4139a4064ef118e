"""Of model directories from untrusted sources nothing is executed, and nothing outside of them is read."""

import io
import json
import os
import pickle
from functools import partial
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from samples import write_tokenizer

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.model_files import find, only, read_config, tokenizer_files, weight_files
from pipeline.conversion.huggingface import export
from pipeline.convert import convert
from pipeline.families import get_family
from pipeline.families.bert import BertConfig

CONFIG = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
VOCAB_SIZE = 40


@pytest.fixture
def model(tmp_path):
    """A sound model directory."""
    torch.manual_seed(0)
    write_tokenizer(tmp_path / "tokenizer", VOCAB_SIZE)
    state = get_family("bert").build(CONFIG, VOCAB_SIZE).state_dict()
    export(get_family("bert"), state, CONFIG, tmp_path / "tokenizer", tmp_path / "model", "")
    return tmp_path / "model"


@pytest.fixture(autouse=True)
def consent(monkeypatch):
    """Answer yes to every question whether code may be executed."""
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 100))
    monkeypatch.setattr("builtins.input", lambda *_: "y")


def change_json(path, **values):
    """Set keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def in_two_files(model, files, index, save):
    """Divide the weights of a model into two files with an index, by `save`; return its tensors and the index."""
    tensors = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = dict(zip(files, (names[::2], names[1::2]), strict=True))
    for file, held in parts.items():
        save({name: tensors[name] for name in held}, model / file)
    placed = {name: file for file in parts for name in parts[file]}
    (model / index).write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    return tensors, model / index


def commands(model, out):
    """Return the commands that read a model directory."""
    return {"import": ["import", str(model), str(out)], "fill": ["fill", str(model), "w1 [MASK]"]}


@pytest.mark.parametrize("command", ["import", "fill"])
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("config.json", {"auto_map": {"AutoConfig": "evil.C", "AutoModelForMaskedLM": "evil.M"}, "model_type": "evil"}),
        ("config.json", {"auto_map": {"AutoModelForMaskedLM": "evil.M", "AutoTokenizer": ["evil.T", None]}}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.T", "evil.T"]}, "tokenizer_class": "T"}),
        ("config.json", {"attn_implementation": "somebody/kernel"}),
    ],
)
def test_code_of_a_model_is_never_executed(model, tmp_path, monkeypatch, command, name, values):
    """Code of a model is not executed even if the user would agree; the error names file and key, and nothing is
    written.
    """
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("MARK", str(tmp_path / "executed"))
    (model / "evil.py").write_text("import os; open(os.environ['MARK'], 'w'); C = M = T = object\n")
    change_json(model / name, **values)
    with pytest.raises(ValueError, match=f"{name}: .*code.* never executed"):
        convert(commands(model, tmp_path / "new")[command])
    assert not (tmp_path / "executed").exists() and not list(tmp_path.glob("*new*"))


class Evil:
    """An object that executes a system call when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_is_read_on_request_only_and_then_tensors_only(model, tmp_path):
    """A pickle is refused without --allow_pickle; with it, a pickle of tensors is read and one that executes is
    refused.
    """
    tensors = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    torch.save(tensors, model / "pytorch_model.bin")
    for arguments in commands(model, tmp_path / "new").values():
        with pytest.raises(ValueError, match=r"pytorch_model\.bin: a pickle"):
            convert(arguments)
    allowed = [*commands(model, tmp_path / "new")["import"], "--allow_pickle", "true"]
    convert(allowed)
    read = dict(checkpoint.Reader(tmp_path / "new").tensors())
    assert torch.equal(read["encoder.embeddings.word.weight"], tensors["bert.embeddings.word_embeddings.weight"])
    for harmful in (pickle.dumps(Evil(tmp_path / "executed")), b"no pickle", pickle.dumps([1])):
        (model / "pytorch_model.bin").write_bytes(harmful)
        with pytest.raises(ValueError, match=r"pytorch_model\.bin: (not readable as tensors alone|holds something)"):
            convert([allowed[0], allowed[1], str(tmp_path / "newer"), *allowed[3:]])
    assert not (tmp_path / "executed").exists() and not (tmp_path / "newer").exists()


def test_pickles_in_several_files_are_read_on_request_only(model, tmp_path):
    """Pickles are read through their index with --allow_pickle alone; a missing file and another kind are errors."""
    tensors, _ = in_two_files(model, ("part-1.bin", "part-2.bin"), "pytorch_model.bin.index.json", torch.save)
    for arguments in commands(model, tmp_path / "new").values():
        with pytest.raises(ValueError, match=r"index\.json: the index of pickles, .* pass --allow_pickle true"):
            convert(arguments)
    allowed = [*commands(model, tmp_path / "new")["import"], "--allow_pickle", "true"]
    convert(allowed)
    read = dict(checkpoint.Reader(tmp_path / "new").tensors())
    assert torch.equal(read["encoder.embeddings.word.weight"], tensors["bert.embeddings.word_embeddings.weight"])
    (model / "part-2.bin").unlink()
    with pytest.raises(ValueError, match=r"part-2\.bin is missing; get the model from its source again"):
        weight_files(model, allow_pickle=True)


def test_an_index_of_safetensors_names_no_pickle(model, tmp_path):
    """An index of safetensors that names a pickle is an error, so that none is read without a request."""
    torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "pytorch_model.bin"}}))
    for arguments in commands(model, tmp_path / "new").values():
        with pytest.raises(ValueError, match=r"pytorch_model\.bin must end in \.safetensors"):
            convert(arguments)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/passwd", "a/../../outside.safetensors", ".."])
def test_an_index_does_not_lead_out_of_the_directory(model, tmp_path, name):
    """An index that names a parent directory or an absolute path is an error."""
    (model / "model.safetensors").rename(tmp_path / "outside.safetensors")
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    for arguments in commands(model, tmp_path / "new").values():
        with pytest.raises(ValueError, match="leads out of the directory"):
            convert(arguments)


def test_weights_in_several_files_are_read(model, tmp_path):
    """Weights in several files are read through the index; a doubled tensor and a missing file are errors."""
    save = partial(save_file, metadata={"format": "pt"})
    tensors, index = in_two_files(model, ("a.safetensors", "b.safetensors"), "model.safetensors.index.json", save)
    first = min(tensors)
    convert(commands(model, tmp_path / "new")["import"])
    assert (tmp_path / "new" / "manifest.json").is_file()
    convert(commands(model, tmp_path / "new")["fill"])
    save_file({first: tensors[first]}, model / "b.safetensors")
    with pytest.raises(ValueError, match=r"is in a\.safetensors as well"):
        convert(commands(model, tmp_path / "newer")["import"])
    (model / "b.safetensors").unlink()
    with pytest.raises(ValueError, match=r"b\.safetensors is missing"):
        weight_files(model)
    index.write_text("{}")
    with pytest.raises(ValueError, match="weight_map must say"):
        weight_files(model)


@pytest.mark.parametrize("name", ["vocab.txt", "tokenizer.json", "config.json", "model.safetensors"])
def test_a_link_does_not_bring_in_a_file_from_outside(model, tmp_path, name):
    """The target of a link that leads outside is neither read nor copied; a link within the directory is read as a
    file.
    """
    (model / name).rename(model / "there")
    (model / name).symlink_to("there")
    convert(commands(model, tmp_path / "new")["import"])
    (model / "there").rename(tmp_path / "outside")
    (model / name).unlink()
    (model / name).symlink_to(tmp_path / "outside")
    for arguments in commands(model, tmp_path / "newer").values():
        with pytest.raises(ValueError, match=r"a link to .*outside of the directory"):
            convert(arguments)
    assert not (tmp_path / "newer").exists()


def test_pipes_and_dangling_links_are_not_opened(model):
    """A pipe, whose reading would wait forever, and a dangling link are errors."""
    (model / "vocab.txt").unlink()
    os.mkfifo(model / "vocab.txt")
    with pytest.raises(ValueError, match="not a regular file"):
        tokenizer_files(model)
    (model / "vocab.txt").unlink()
    (model / "vocab.txt").symlink_to("nowhere")
    with pytest.raises(ValueError, match="not a regular file"):
        tokenizer_files(model)
    assert find(model, "merges.txt") is None


def test_a_tokenizer_file_that_no_manifest_lists_is_not_exported(model, tmp_path):
    """A tokenizer file that was added to a checkpoint, and that no manifest lists, is not exported."""
    convert(commands(model, tmp_path / "new")["import"])
    (tmp_path / "new" / "tokenizer" / "added_tokens.json").write_text("{}")
    with pytest.raises(ValueError, match=r"added_tokens\.json: not in the checkpoint's manifest\.json"):
        convert(["export", str(tmp_path / "new"), str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", ["[1]", "{", "\xff", "[" * 100_000])
def test_json_of_another_kind_is_one_clear_error(model, content):
    """Lists, truncated files, other encodings and endless nesting are each one clear error."""
    (model / "config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=r"config\.json: (not valid JSON|holds a JSON list)"):
        read_config(model)


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, (2**62).to_bytes(8, "little") + b"{}"])
def test_weights_that_are_no_safetensors_are_one_clear_error(model, tmp_path, content):
    """Empty files, arbitrary bytes, and a header that is longer than the file are each one clear error."""
    (model / "model.safetensors").write_bytes(content)
    for arguments in commands(model, tmp_path / "new").values():
        with pytest.raises(ValueError, match=r"model\.safetensors: not readable as safetensors"):
            convert(arguments)


def test_a_damaged_tokenizer_is_one_clear_error(model, tmp_path):
    """Each of the tokenizer library's errors names the model directory, and not a temporary one."""
    (model / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"transformers cannot load the tokenizer") as error:
        convert(commands(model, tmp_path / "new")["fill"])
    assert "bert-model-" not in str(error.value)
    for name in ("tokenizer.json", "vocab.txt"):
        (model / name).unlink()
    with pytest.raises(ValueError, match="holds no tokenizer"):
        convert(commands(model, tmp_path / "new")["import"])
    assert not list(tmp_path.glob("*new*"))


def test_a_huge_number_of_layers_is_refused_before_a_model_is_made(model):
    """Both commands that build a model refuse a huge number of layers before they build it."""
    change_json(model / "config.json", num_hidden_layers=10**6)
    for arguments in commands(model, model / "new").values():
        with pytest.raises(ValueError, match="num_hidden_layers = 1000000, but the weights hold"):
            convert(arguments)


def test_a_library_sees_the_checked_files_only(model):
    """A library sees only the checked files in a temporary directory, which is removed afterwards."""
    (model / "adapter_config.json").write_text("{}")
    with only([model / "config.json"]) as view:
        assert [path.name for path in Path(view).iterdir()] == ["config.json"]
        assert transformers.BertConfig.from_pretrained(view).hidden_size == CONFIG.hidden_size
    assert not view.exists() and (model / "config.json").exists()

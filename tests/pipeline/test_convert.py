"""The command exports and imports models that compute what was trained (law 7)."""

import subprocess
import sys

import pytest
import torch
import transformers
from ranks import ROOT
from safetensors.torch import save_file
from samples import write_tokenizer

from pipeline.checkpoints import checkpoint
from pipeline.conversion.importing import imported_state, unique
from pipeline.conversion.names import to_huggingface
from pipeline.convert import convert
from pipeline.families import get_family
from pipeline.families.bert import BertConfig
from pipeline.runtime.command import USER_ERRORS

CONFIG = BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
VOCAB_SIZE = 60


@pytest.fixture
def trained(tmp_path):
    """A model with random weights, larger than initial ones, and its checkpoint directory in the pipeline's format."""
    torch.manual_seed(0)
    model = get_family("bert").build(CONFIG, VOCAB_SIZE).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    write_tokenizer(tmp_path / "tokenizer", VOCAB_SIZE)
    temporary = tmp_path / "run" / "checkpoints" / ".step-00000005.tmp"
    temporary.mkdir(parents=True)
    parameters = unique(model.state_dict())
    path = temporary / "rank-00000.safetensors"
    save_file({f"weight|{name}|0": value.reshape(-1).clone() for name, value in parameters.items()}, path)
    state = imported_state("bert", CONFIG, VOCAB_SIZE, parameters) | {"step": 5}
    directory = temporary.with_name("step-00000005")
    checkpoint.publish(
        temporary, directory, state, {path.name: checkpoint.manifest_entry(path)}, tmp_path / "tokenizer"
    )
    return model, directory


def test_exported_run_has_the_trained_weights(trained, tmp_path):
    """transformers loads the newest checkpoint of a run from its export, with all its weights, its tokenizer and its
    card.
    """
    model, _ = trained
    convert(["export", str(tmp_path / "run"), str(tmp_path / "out")])
    loaded, report = transformers.BertForPreTraining.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    expected = to_huggingface(get_family("bert"), model.state_dict())
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items() if name in expected)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer("w1 w2")["input_ids"] == [2, *tokenizer.convert_tokens_to_ids(["w1", "w2"]), 3]
    assert "5 steps" in (tmp_path / "out" / "README.md").read_text().replace("\n", " ")


def test_a_model_of_another_shape_in_state_json_is_one_error(trained):
    """A field of the model in state.json that is unknown or of another type is an error that names the file."""
    _, directory = trained
    state = checkpoint.read_state(directory)
    for change in ({"layers": 3}, {"hidden_size": "wide"}, {"hidden_size": 33}):
        with pytest.raises(ValueError, match=r"state.json: model is no BertConfig \("):
            checkpoint.model_config(directory, BertConfig, state | {"model": state["model"] | change})


def test_import_is_the_inverse_of_export(trained, tmp_path):
    """Exporting a checkpoint and importing it again keeps every tensor bit for bit."""
    _, directory = trained
    convert(["export", str(directory), str(tmp_path / "out")])
    convert(["import", str(tmp_path / "out"), str(tmp_path / "back")])
    checkpoint.verify(tmp_path / "back")
    before, after = (dict(checkpoint.Reader(path).tensors()) for path in (directory, tmp_path / "back"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert checkpoint.read_state(tmp_path / "back")["model"] == checkpoint.read_state(directory)["model"]


def test_fill_prints_words_and_probabilities(trained, tmp_path, capsys):
    """Each sentence is printed, and under it one line for each [MASK], with the most likely word first."""
    convert(["export", str(trained[1]), str(tmp_path / "out")])
    capsys.readouterr()
    convert(["fill", str(tmp_path / "out"), "w1 [MASK] w2 [MASK]", "[MASK] w3", "--top", "3"])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == ["w1 [MASK] w2 [MASK]", "[MASK] w3"]
    assert len(lines) == 5
    for line in filter(lambda line: line.startswith(" "), lines):
        probabilities = [float(text) for text in line.split()[1::2]]
        assert len(probabilities) == 3 and probabilities == sorted(probabilities, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "{directory}", "{directory}"], "exists"),
        (["export", "{tmp}/nowhere", "{tmp}/new"], "neither a checkpoint nor a run"),
        (["import", "{tmp}/nowhere", "{tmp}/new"], "nowhere: no such file"),
    ],
)
def test_wrong_paths_are_one_line(trained, tmp_path, arguments, message):
    """A wrong path is a one-line error, and nothing is written."""
    with pytest.raises(USER_ERRORS, match=message) as raised:
        convert([text.format(directory=trained[1], tmp=tmp_path) for text in arguments])
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_an_error_ends_the_process_in_one_line(tmp_path):
    """An error ends the process with status 1 and one `error:` line."""
    arguments = ["export", str(tmp_path / "nowhere"), str(tmp_path / "new")]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.convert", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("error:") and done.stderr.count("\n") == 1, done.stderr


def test_damaged_checkpoint_is_not_exported(trained, tmp_path):
    """A flipped bit in a checkpoint is found before anything is written."""
    _, directory = trained
    path = directory / "rank-00000.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match="sha256 differs"):
        convert(["export", str(directory), str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()


def test_the_options_of_an_export_reach_it(trained, tmp_path, capsys):
    """`--as`, also with hyphens, `--labels` and `--seed` select class and head, and the output names what is new and
    what is left out.
    """
    options = ["--as", "sequence-classification", "--labels", "3", "--seed", "4"]
    convert(["export", str(trained[1]), str(tmp_path / "out"), *options])
    assert transformers.BertForSequenceClassification.from_pretrained(tmp_path / "out").num_labels == 3
    printed = capsys.readouterr().out
    assert "left out: cls.predictions, cls.seq_relationship\n" in printed
    assert "new and untrained, seed 4: classifier.weight, classifier.bias\n" in printed

"""Every command and sub-command shows its help and its configuration, and rejects a wrong command line in one line."""

import re

import pytest
from forked_commands import called

HEAVY = {
    "deepspeed",
    "jinja2",
    "matplotlib",
    "mpi4py",
    "numpy",
    "py3langid",
    "pyarrow",
    "rensa",
    "sentencepiece",
    "sentencex",
    "tokenizers",
    "torch",
    "tqdm",
    "transformers",
}
"""Libraries whose import would delay a help text noticeably."""

HELP = [
    "pipeline.pretrain --help",
    "pipeline.pretrain --print_config",
    "pipeline.pretrain --recipe pipeline/recipes/demo.toml --print_config",
    "pipeline.convert --help",
    "pipeline.convert export --help",
    "pipeline.convert import --help",
    "pipeline.convert fill --help",
    "pipeline.convert extend --help",
    "pipeline.convert inspect --help",
    "pipeline.convert diff --help",
    "pipeline.convert consolidate --help",
    "pipeline.convert onnx --help",
    "pipeline.report --help",
    "pipeline.plan --help",
    "pipeline.finetune --help",
    "pipeline.predict --help",
    "preprocessing --help",
    "preprocessing run --help",
    "preprocessing extract --help",
    "preprocessing tokenizer --help",
    "preprocessing build --help",
    "preprocessing inspect --help",
    "preprocessing verify --help",
    "preprocessing classification --help",
    "preprocessing download --help",
    "preprocessing download wikipedia --help",
    "preprocessing download url --help",
]

WRONG = {
    "pipeline.pretrain": "the following arguments are required: run_dir",
    "pipeline.pretrain --nonsense 1": "nonsense",
    "pipeline.convert": "export,import,fill",
    "pipeline.convert nonsense": "invalid choice: 'nonsense'",
    "pipeline.convert export": "required",
    "pipeline.convert export a b --as decoder": "decoder: must be one of pretraining, masked_lm",
    "pipeline.report": "the following arguments are required: runs",
    "pipeline.plan": "the following arguments are required: recipes",
    "pipeline.finetune": "the following arguments are required: task, model, data",
    "pipeline.finetune sst2 --nonsense 1": "unknown option --nonsense",
    "pipeline.predict": "the following arguments are required: model",
    "preprocessing": "no command given",
    "preprocessing nonsense": "nonsense: no such command",
    "preprocessing run --out nowhere": "--sources: required",
    "preprocessing run --out nowhere --sources embedded --nonsense 1": "--nonsense: no such option",
    "preprocessing run --out nowhere --sources embedded --workers two": "--workers = two: must be a whole number",
    "preprocessing run --out nowhere --sources embedded --weights 1 2": "--weights has 2 numbers",
    "preprocessing run --out nowhere --sources embedded --near_threshold 0.9": "near_threshold = 0.9: has no effect",
    "preprocessing extract --out nowhere --sources embedded --language english": "did you mean en?",
    "preprocessing extract --out nowhere --sources embedded --ngram_words 0": "ngram_words = 0: must be at least 1",
    "preprocessing tokenizer --out nowhere --kind unigrm": "did you mean 'unigram'?",
    "preprocessing build --out nowhere --segments npc": "did you mean 'nsp'?",
    "preprocessing inspect nowhere --samples -1": "samples = -1: must be at least 0",
    "preprocessing verify": "directory: required",
    "preprocessing classification --out nowhere --dev 0": "dev = 0: must be at least 1",
    "preprocessing download": "no command given",
    "preprocessing download url": "urls: required",
    "preprocessing download url http://127.0.0.1/a --out nowhere --connections 9": "connections = 9: must be 1 or 2",
    "preprocessing download wikipedia --out nowhere --language english": "did you mean en?",
}


@pytest.mark.parametrize("line", HELP)
def test_help_is_text_without_an_error_and_before_any_heavy_library(line):
    """Help ends with status 0, prints nothing on standard error, and imports none of HEAVY."""
    status, text, errors, imported = called(line)
    assert (status, errors) == (0, "")
    assert len(text.splitlines()) > 5
    assert line.split(maxsplit=1)[0].partition(".")[0] in imported, "the test does not see what is imported"
    assert not HEAVY & imported


@pytest.mark.parametrize("line", [line for line in HELP if line.endswith("--help")])
def test_help_explains_each_option(line):
    """Each option has a description besides its type and default, and none shows the sections of a docstring."""
    text = " ".join(called(line)[1].split())
    assert not re.findall(r"--\w\S* (?:[A-Z_]+|\{\S+\}|\[ITEM,...\]) \((?:required, )?type: ", text)
    assert "Args:" not in text


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_command_line_is_one_line(line):
    """A wrong command line ends with status 2 and one line on standard error, and imports no heavy library either."""
    status, text, errors, imported = called(line)
    assert (status, text) == (2, "")
    assert errors.startswith("error: ") and errors.count("\n") == 1 and WRONG[line] in errors
    assert not HEAVY & imported

"""Laws of preprocessing/commandline.py: an error takes one line and names the option that was probably meant."""

import pytest

from preprocessing.__main__ import main

RUN = ["run", "--out", "out", "--sources", "embedded"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*RUN, "--vocab_sze", "7"], "--vocab_sze: no such option; did you mean '--vocab_size'?"),
        ([*RUN, "--smples=7"], "--smples=7: no such option"),
        (["inspect", "out", "--htlm", "x"], "--htlm: no such option; did you mean '--html'?"),
        (["verify", "out", "--colour"], "--colour: no such option (see python -m preprocessing verify --help)"),
        (["verify", "out", "more"], "more: one argument too many"),
        (["rnu"], "rnu: no such command, known are download, run,"),
        (["rnu"], "did you mean 'run'?"),
        (["download", "wikipeda"], "did you mean 'wikipedia'?"),
        ([], "no command given, known are download, run, extract, tokenizer, build, inspect, verify"),
        (["download"], "no command given, known are wikipedia, url"),
        (["run", "--out", "out"], "--sources: required, and not given"),
        (["inspect"], "directory: required, and not given"),
        (["download", "url", "--out", "out"], "urls: required, and not given"),
        (
            [*RUN, "--executor", "serail"],
            "--executor = serail: must be processes, serial or mpi; did you",
        ),
        ([*RUN, "--deduplicate", "nera"], "--deduplicate = nera: must be no, exact or near; did you mean 'near'?"),
        ([*RUN, "--workers", "two"], "--workers = two: must be a whole number"),
        ([*RUN, "--vocab_size", "x"], "--vocab_size = x: must be a whole number"),
        ([*RUN, "--short_seq_prob", "x"], "--short_seq_prob = x: must be a number"),
        ([*RUN, "--weights", "1", "b"], "--weights = b: must be a number"),
        ([*RUN, "--lower_case", "maybe"], "--lower_case = maybe: must be true or false"),
        ([*RUN, "--vocab"], "argument --vocab: expected one argument"),
        ([*RUN, "--segments", "npc"], "did you mean 'nsp'?"),
        ([*RUN, "--kind", "unigrm"], "did you mean 'unigram'?"),
    ],
)
def test_an_error_is_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    """An error has status 2 and one line, prints nothing on stdout, and writes nothing."""
    monkeypatch.chdir(tmp_path)
    try:
        status = main(arguments)
    except SystemExit as exit_:
        status = exit_.code
    shown = capsys.readouterr()
    assert status == 2 and shown.out == "" and not list(tmp_path.iterdir())
    assert shown.err.startswith("error: ") and shown.err.count("\n") == 1 and message.split("=7")[0] in shown.err


def test_the_installed_command_calls_itself_by_its_name(monkeypatch, capsys):
    """Messages of the installed command call it by the name with which it was started."""
    monkeypatch.setattr("sys.argv", ["/usr/bin/bert-preprocess"])
    with pytest.raises(SystemExit):
        main(["verify", "out", "--colour"])
    assert "(see bert-preprocess verify --help)" in capsys.readouterr().err

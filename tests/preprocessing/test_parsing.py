"""Mistakes on the command line of preprocessing are one line."""

import pytest

from preprocessing.__main__ import main


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--duplicates", "many"], "error: duplicates = many: must be an integer"),
        (["--duplicatez", "3"], "error: unknown option --duplicatez; did you mean --duplicates?"),
        (["--executor", "threads"], "error: executor = threads: must be one of processes, serial, mpi"),
        (["--zzz"], "error: unknown option --zzz; --help lists all"),
    ],
)
def test_a_wrong_option_is_one_line_with_status_2(tmp_path, capsys, options, message):
    """Without the usage of all options; unknown ones with what was probably meant."""
    with pytest.raises(SystemExit) as caught:
        main(["build", "--out", str(tmp_path / "out"), *options])
    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines() == [message]
    assert not (tmp_path / "out").exists()

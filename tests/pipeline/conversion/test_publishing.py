"""An upload follows a complete export, and its failure is one clear error."""

import pytest
from made_checkpoints import write_checkpoint

from pipeline.conversion import publishing
from pipeline.convert import convert


@pytest.mark.parametrize("name", ["", "a/b/c", "../a", "-a", "a b", "a/"])
def test_other_names_are_errors(name):
    """A name that is no repository's is an error; that of an owner's repository is not."""
    publishing.require_name("me/bert.base_v-1")
    with pytest.raises(ValueError, match=r"--push = .*: must be OWNER/NAME"):
        publishing.require_name(name)


def test_a_failed_upload_leaves_the_export(tmp_path, monkeypatch):
    """Without network or login the error names the export, the reason and the remedy in one line."""

    def fail(directory, repository, private):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(publishing, "upload", fail)
    with pytest.raises(ValueError, match=r"--push = me/a: .* is complete, but was not uploaded \(no route\)") as error:
        publishing.push(tmp_path, "me/a", False)
    assert "\n" not in str(error.value) and f"hf upload me/a {tmp_path}" in str(error.value)


def test_the_command_uploads_what_it_exported(tmp_path, monkeypatch, capsys):
    """`--push` uploads the complete directory; a wrong name, and `--private` alone, are errors before the export."""
    uploads = []

    def record(directory, repository, private):
        uploads.append((sorted(path.name for path in directory.iterdir()), repository, private))
        return "the address"

    monkeypatch.setattr(publishing, "upload", record)
    source, out = write_checkpoint(tmp_path, "bert"), tmp_path / "out"
    for options, message in ((["--push", "a b"], "must be OWNER/NAME"), (["--private", "true"], "has no effect")):
        with pytest.raises(ValueError, match=message):
            convert(["export", str(source), str(out), *options])
        assert not out.exists()
    convert(["export", str(source), str(out), "--push", "me/a", "--private", "true"])
    assert [upload[1:] for upload in uploads] == [("me/a", True)]
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= set(uploads[0][0])
    assert "out -> the address" in capsys.readouterr().out

"""A C++ library is compiled once, and published completely or not at all."""

import os
import subprocess

import pytest

from pipeline.kernels.backends import UnavailableError
from pipeline.kernels.native import library


@pytest.fixture
def build_root(tmp_path, monkeypatch):
    """An empty directory for compiled libraries, with none of them loaded."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "extensions"))
    library.load.cache_clear()
    yield tmp_path / "extensions"
    library.load.cache_clear()


def test_a_library_appears_under_its_final_name_only_when_complete(build_root, monkeypatch):
    """The library is built in a temporary directory, which is removed, and then gets its final name."""

    def build(build_directory, **_):
        assert os.listdir(build_root) == [os.path.basename(build_directory)]
        path = os.path.join(build_directory, "lamb.so")
        with open(path, "wb") as file:
            file.write(b"no library")
        return path

    monkeypatch.setattr(library.cpp_extension, "load", build)
    with pytest.raises(UnavailableError, match="cannot be compiled"):  # it cannot be loaded
        library.load("lamb")
    (name,) = os.listdir(build_root)
    assert name.startswith("bert_pipeline_lamb_") and name.endswith(".so")


def test_a_failed_build_leaves_nothing(build_root, monkeypatch):
    """A failed build leaves no file, and its error has the compiler's first line."""

    def fail(**_):
        raise subprocess.CalledProcessError(1, ["c++"])

    monkeypatch.setattr(library.cpp_extension, "load", fail)
    with pytest.raises(UnavailableError, match=r"cannot be compiled \(Command .*returned non-zero exit status 1"):
        library.load("lamb")
    assert os.listdir(build_root) == []


def test_a_source_that_does_not_compile_is_unavailable(build_root, monkeypatch, tmp_path):
    """After a failed compilation, or without a writable directory, the kernel is unavailable and no file is left."""
    (tmp_path / "broken.cpp").write_text("not C++")
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    with pytest.raises(UnavailableError, match="cannot be compiled"):
        library.load("broken")
    assert os.listdir(build_root) == []
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "broken.cpp" / "file"))
    with pytest.raises(UnavailableError, match="cannot be compiled"):
        library.load("broken")


def test_a_library_is_built_once(build_root):
    """A second process finds the compiled library."""
    library.load("lamb")
    (path,) = build_root.iterdir()
    built = path.stat().st_mtime_ns
    library.load.cache_clear()
    library.load("lamb")
    assert path.stat().st_mtime_ns == built

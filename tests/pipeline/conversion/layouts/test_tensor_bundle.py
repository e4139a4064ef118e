"""TensorFlow's checkpoints are read with their checksums, and damage is one error."""

import numpy as np
import pytest
import torch
from bundles import message, number, write_bundle

from pipeline.conversion.layouts import tensor_bundle

ARRAYS = {
    "layer_0/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "layer_0/scalar": np.array(7, dtype=np.int64),
    "layer_1/kernel": np.arange(4, dtype=np.float16),
    "layer_10/kernel": np.arange(3, dtype=np.float64),
    "other": np.zeros((0, 3), dtype=np.float32),
    "wide": np.ones((1, 300), dtype=np.float32),
}


@pytest.fixture
def index(tmp_path):
    """The index of a checkpoint of several blocks."""
    write_bundle(tmp_path / "a.ckpt", ARRAYS)
    return tmp_path / "a.ckpt.index"


def read(index):
    return {name: tensor_bundle.tensor(name, entry) for name, entry in tensor_bundle.entries(index).items()}


def test_every_tensor_is_read(index):
    """Names, shapes, types and values are those that were written, over several blocks."""
    found = read(index)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert torch.equal(found[name], torch.from_numpy(array)), name


@pytest.mark.parametrize(("file", "step"), [("a.ckpt.index", 3), ("a.ckpt.data-00000-of-00001", 61)])
def test_every_flipped_bit_is_found(index, file, step):
    """A flipped bit anywhere in either file is an error that names the file, or changes nothing that is read."""
    path = index.with_name(file)
    content = path.read_bytes()
    harmless = 0
    for at in range(0, len(content), step):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
        try:
            found = read(index)
        except ValueError as error:
            assert "a.ckpt" in str(error) and "\n" not in str(error)
        else:
            harmless += 1
            assert all(torch.equal(found[name], torch.from_numpy(ARRAYS[name])) for name in ARRAYS)
    assert harmless <= 20  # the padding of the footer, and the empty block of further information


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("file", ["a.ckpt.index", "a.ckpt.data-00000-of-00001"])
def test_a_truncated_file_is_one_error(index, file, share):
    """A file that was cut short is an error that names it."""
    path = index.with_name(file)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=r"a\.ckpt\.") as error:
        read(index)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_what_is_not_read_is_said(index, tmp_path):
    """Compression, another byte order, a missing file of values and a link that leads elsewhere are errors."""
    write_bundle(tmp_path / "b", ARRAYS, compression=1)
    with pytest.raises(ValueError, match=r"b\.index: a block has compression 1 \(1: snappy\)"):
        read(tmp_path / "b.index")
    write_bundle(tmp_path / "c", ARRAYS, header=number(1, 1) + number(2, 1))
    with pytest.raises(ValueError, match="written on a big-endian machine"):
        read(tmp_path / "c.index")
    write_bundle(tmp_path / "d", ARRAYS, header=number(1, 2) + message(3, b""))
    with pytest.raises(ValueError, match=r"d\.data-00000-of-00002: missing"):
        read(tmp_path / "d.index")
    data = index.with_name("a.ckpt.data-00000-of-00001")
    (tmp_path / "elsewhere").mkdir()
    data.rename(tmp_path / "elsewhere" / data.name)
    (tmp_path / "inside").mkdir()
    index.rename(tmp_path / "inside" / index.name)
    (tmp_path / "inside" / data.name).symlink_to(tmp_path / "elsewhere" / data.name)
    with pytest.raises(ValueError, match="outside of the directory"):
        read(tmp_path / "inside" / index.name)

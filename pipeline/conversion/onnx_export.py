"""Export of a model of `transformers` as ONNX, compared with the model by ONNX Runtime.

The graph has dynamic axes for batch and length. The packages of the extra `onnx` are imported when they are used.
"""

import logging
import shutil
import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.checkpoints import model_files
from pipeline.conversion import huggingface, verification
from pipeline.conversion.importing import family_of
from pipeline.families import get_family

GRAPH = "model.onnx"
"""Name of the file with the graph, as other programs expect it."""
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
LARGEST_FILE = 1 << 30
"""Bytes of weights above which they are in a file beside the graph: protobuf's limit is 2 GiB."""


class Graph(nn.Module):
    """A model that takes its inputs by position and returns a tuple, which the exporter follows.

    Args:
        model: model of `transformers`.
        inputs: names of its inputs.
    """

    def __init__(self, model: nn.Module, inputs: Sequence[str]) -> None:
        super().__init__()
        self.model, self.inputs = model, tuple(inputs)

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        """Takes the inputs (B, L), returns all outputs of the model."""
        return tuple(self.model(**dict(zip(self.inputs, values, strict=True))).values())


def export_onnx(model: Path, out: Path) -> dict[str, float]:
    """Write a model directory as an ONNX graph with its configuration and tokenizer.

    Args:
        model: directory of an exported or fine-tuned model.
        out: directory of the graph, which must not exist; it appears whole or not at all.

    Returns:
        Name of each output -> largest difference from the model, relative to the largest value if that is above 1.

    Raises:
        ValueError: a package is not installed, `out` exists, the model is of no known class, or ONNX Runtime computes
            something else.
    """
    require_packages()
    huggingface.require_absent(out)
    family, tokenizer = get_family(family_of(model)), huggingface.load_tokenizer(model)
    loaded = huggingface.load_model(model, family)
    longest = min(tokenizer.model_max_length, loaded.config.max_position_embeddings - family.template.first_position)
    batches = verification.sample_batches(tokenizer, family.template, longest, loaded.config.vocab_size)
    samples = [verification.padded_inputs(batch, loaded.config.pad_token_id) for batch in batches]
    out.parent.mkdir(parents=True, exist_ok=True)
    with huggingface.atomic_directory(out) as temporary:
        write_graph(loaded, samples[1], longest, temporary / GRAPH)
        huggingface.copy_tokenizer(model, temporary, longest)
        shutil.copyfile(model / model_files.CONFIG, temporary / model_files.CONFIG)
        differences = compare(loaded, temporary / GRAPH, samples)
        verification.require_same(differences, "ONNX Runtime")
    return differences


def require_packages() -> None:
    """Check that the packages of the extra `onnx` are installed.

    Raises:
        ValueError: one is not; the message has the command that installs them.
    """
    if absent := [name for name in PACKAGES if find_spec(name) is None]:
        file = Path(__file__).with_name("onnx.txt")
        raise ValueError(f"convert onnx needs {', '.join(absent)}, not installed here; run pip install -r {file}")


def write_graph(model: Any, sample: Mapping[str, Tensor], longest: int, path: Path) -> None:
    """Write the graph of a model.

    Args:
        model: model of `transformers` in evaluation mode.
        sample: inputs (B, L) with B and L above 1.
        longest: largest L.
        path: file of the graph; large weights are in a file beside it.
    """
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=longest)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # operators of packages that are not installed
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of names of axes that are used twice, and of torch's own code
        program = torch.onnx.export(
            Graph(model, list(sample)).eval(),
            tuple(sample.values()),
            dynamo=True,
            verbose=False,
            input_names=list(sample),
            output_names=list(model(**sample)),
            dynamic_shapes=(tuple({0: batch, 1: length} for _ in sample),),
        )
    assert program is not None, "None is returned where a file was named"
    size = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    program.save(path, external_data=size > LARGEST_FILE)


def compare(model: Any, path: Path, samples: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
    """Return the largest difference of each output from what ONNX Runtime computes with the graph.

    Args:
        model: model of `transformers`.
        path: file of the graph.
        samples: inputs of the model, of different shapes.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    theirs, ours = [], []
    for inputs in samples:
        with torch.inference_mode():
            ours.append(dict(model(**inputs)))
        found = session.run(list(ours[-1]), {name: value.numpy() for name, value in inputs.items()})
        theirs.append(dict(zip(ours[-1], map(torch.from_numpy, found), strict=True)))
    return verification.largest_difference(theirs, ours)

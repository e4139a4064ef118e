"""Checkpoints of random models, for students."""

import torch

from pipeline.conversion.importing import write_imported
from pipeline.conversion.pretrained import Pretrained
from pipeline.families import get_family
from pipeline.families.bert import BertConfig

VOCAB_SIZE = 120
"""Size of the vocabulary of the tests' samples."""
CONFIG = BertConfig(
    hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64, max_position_embeddings=36
)


def write_teacher(folder, samples, name="teacher", family="bert", config=CONFIG):
    """Write a checkpoint of a random model with the vocabulary of the samples."""
    form = get_family(family).of(config)
    torch.manual_seed(5)
    (temporary := folder / f"{name}.tmp").mkdir()
    state = form.build(config, VOCAB_SIZE).state_dict()
    write_imported(Pretrained(state, config, VOCAB_SIZE, form), samples / "tokenizer", temporary, folder / name)
    return folder / name

"""The model with which a run begins."""

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from pipeline.config import Recipe
from pipeline.data.floors import unigram
from pipeline.families import get_family
from pipeline.jobs.samples import training_words
from pipeline.model.initialization import initialize_output_bias
from pipeline.runtime import distributed
from preprocessing.shards import SampleDataset


def build_model(recipe: Recipe, train: SampleDataset) -> nn.Module:
    """Return a model whose initial weights follow from the recipe, its seed and the training samples.

    All ranks call it together.

    Raises:
        ValueError: a shard was damaged after it was verified, or a file that the recipe names was changed.
        PeerError: it was on another rank.
    """
    family = get_family(recipe.family).of(recipe.model)
    torch.manual_seed(recipe.seed)
    model = family.build(recipe.model, train.manifest.vocab_size)
    if recipe.model.output_bias == "frequencies":
        with distributed.together("count the words of the samples"):
            frequencies = unigram(np.concatenate(training_words(train)), train.manifest.vocab_size)
        for name in (family.output_bias, *family.further_biases):
            initialize_output_bias(model.get_parameter(name), torch.from_numpy(frequencies))
    with distributed.together("prepare the model"):
        family.prepare(model, recipe.model)
    return model


def completed(recipe: Recipe, train: SampleDataset) -> Recipe:
    """Return the recipe with what its model section records of files that it names, such as a teacher's checksum.

    Raises:
        ValueError: these files cannot be read, or do not fit the model or the samples.
    """
    return replace(recipe, model=get_family(recipe.family).of(recipe.model).completed(recipe.model, train))

"""The interface of a family: everything that the rest of the pipeline needs to know about a model and its objective.

A family is a module or a package in this directory, found by its name, that defines `FAMILY`, a `Family`. It only
declares and composes: the building blocks are in `pipeline.model`, `pipeline.data` and `pipeline.losses`. Reading a
recipe or showing a help text imports the family, which therefore imports torch and numpy only inside functions that
compute.
"""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from pipeline.data.config import Corruption
from pipeline.data.template import Template
from pipeline.model.config import EncoderConfig
from pipeline.optim.parameters import Parameters
from pipeline.runlog.terms import Term

if TYPE_CHECKING:
    from torch import Tensor, nn

    from preprocessing.shards import SampleDataset

Names = Mapping[str, tuple[str, ...]]
"""Parameter name here -> names in `transformers` of the tensors that are equal to it when stacked along dimension 0."""
Ties = Mapping[str, str]
"""A parameter's name -> the name of the parameter that it shares its storage with."""
Tensors = Mapping[str, "Tensor"]
"""Parameters by name."""
MAX_SIZE = 2**31 - 1
"""Largest number that a configuration read from a file may hold."""

Output = Literal["sequences", "tokens", "spans", "choices"]
"""What a class of `transformers` for a task gives: logits of sequences or of tokens, the start and end logits of spans,
or a logit for each choice of a question."""

FAMILY_FIELD = "family"
"""Field of a `config.json` that names the family of a model whose class in `transformers` is that of another family."""
AUXILIARY = "auxiliary"
"""Name of the auxiliary model among the modules of a model that is built for measurements."""
LARGE = 1024
"""Number of hidden units from which on a model has the settings of fine-tuning of large models."""
C = TypeVar("C", bound=EncoderConfig)
Settings = Mapping[str, Any]
"""Values of a recipe's fields by dotted name."""


def unchanged(tensors: Tensors) -> Tensors:
    """Return the parameters unchanged."""
    return tensors


@dataclass(frozen=True)
class Export(Generic[C]):
    """The correspondence of a model to a class of `transformers` that computes the same forward pass."""

    model_class: str
    """Name of the class in `transformers`."""
    names: Callable[[int], Names]
    """Number of distinct layers -> names of all parameters, here and in `transformers`."""
    config_to: Callable[[C, int], dict[str, Any]]
    """(config, vocab_size) -> arguments of the class's configuration."""
    config_from: Callable[[Mapping[str, Any]], C]
    """A complete `config.json` -> config; raises ValueError for values that the family does not support."""
    ties: Ties = field(default_factory=dict)
    """Parameters of the model here that share their storage."""
    class_ties: Ties = field(default_factory=dict)
    """Parameters of the class that share their storage; a directory may hold them under either name or both."""
    optional: tuple[str, ...] = ()
    """Parameters of the model here that a model of another shape lacks, such as a projection between equal widths."""
    unexported: tuple[str, ...] = ()
    """Prefixes of the names of parameters that the class lacks, and whose names in `names` are those of this project.
    An export leaves them out, and an import draws them anew."""
    ignored: tuple[str, ...] = ()
    """Suffixes of the names of buffers that older versions of `transformers` saved among the parameters."""
    modern: Callable[[str], str] = lambda name: name
    """Parameter name in an older checkpoint -> its present name."""
    unread: Ties = field(default_factory=dict)
    """Parameters that the class lacks, and ignores in a file, -> their names in the file of an export."""
    leaving: Callable[[Tensors], Tensors] = unchanged
    """Last change of an export: of the parameters under their names in `transformers`, before they are saved."""
    arriving: Callable[[Tensors], Tensors] = unchanged
    """First change of an import, the inverse of `leaving`: of the parameters as they were read."""


@dataclass(frozen=True)
class TaskHead:
    """A head for fine-tuning, and the class of `transformers` that has it on the family's encoder.

    The parameters have the names that they have in `pipeline.model.task_heads.TaskModel`.
    """

    model_class: str
    """Name of the class in `transformers`."""
    build: Callable[[EncoderConfig, int], "nn.Module"]
    """(configuration of the encoder, number of outputs) -> module, whose forward pass takes hidden states (T, H) and
    the index of each sequence's first token (B,)."""
    new: Names
    """Names of the parameters that every fine-tuning draws anew; the last one is the bias (C,) of the logits."""
    pretrained: Names = field(default_factory=dict)
    """Names of the parameters that begin with the values of a pre-trained model, if it has them."""
    output: Output = "sequences"
    """What the class gives."""


@dataclass(frozen=True)
class Part(Generic[C]):
    """A model of its own within the model of a family, which has a directory of its own in an export."""

    directory: str
    """Directory below that of the export; empty: that directory itself."""
    family: "Family[C]"
    """Model, names and class in `transformers` of the part."""
    renamed: Callable[[str], str]
    """Name of a parameter in the whole model -> its name in the part, or empty if the part lacks it."""
    config: Callable[[C], C] = lambda config: config
    """Configuration of the whole model -> that of the part."""


@dataclass(frozen=True)
class Auxiliary(Generic[C]):
    """A model without gradients that a model computes with and that is none of its modules, such as a teacher.

    Every rank holds it whole, in the type of the model's weights.
    """

    build: "Callable[[C, int], nn.Module]"
    """(config, vocab_size) -> model of its shape with arbitrary weights, which computes with the kernels that the
    configuration, that of the model, names."""
    attach: "Callable[[nn.Module, nn.Module], None]"
    """Gives a model, which `Family.build` has made, its auxiliary model."""
    title: str
    """What it is, such as teacher, for texts."""
    assumed: str = ""
    """What is assumed of its shape, if the file that describes it does not exist yet; for the text of plans."""


@dataclass(frozen=True)
class Family(Generic[C]):
    """One architecture with its objective, such as BERT or RoBERTa."""

    name: str
    """Name of the family in recipes."""
    config: type[C]
    """Type of the recipe's `[model]` section."""
    corruption: type[Corruption]
    """Type of the recipe's `[masking]` section."""
    template: Template
    """The special tokens around segments."""
    samples: tuple[str, ...]
    """Values of the preprocessing's `--segments` that it can train on; messages suggest the first one."""
    terms: tuple[Term, ...]
    """Terms of the loss."""
    build: Callable[[C, int], "nn.Module"]
    """(config, vocab_size) -> model with fresh weights drawn from torch's default generator. Its forward pass takes a
    `Batch` and gives an `Output` with the sums of the terms; fine-tuning takes its attribute `encoder`."""
    parameters: Parameters
    """Weight decay and stacking of its parameters."""
    word_embeddings: str
    """Name of the word embeddings (V, E)."""
    output_bias: str
    """Name of the bias (V,) of the logits over the vocabulary."""
    further_biases: tuple[str, ...] = field(default=(), kw_only=True)
    """Names of the biases (V,) of further logits over the vocabulary."""
    layer: str
    """Suffix of the name of a parameter that each distinct layer of the encoder has exactly once."""
    export: Export[C]
    """The corresponding class in `transformers`."""
    heads: Mapping[str, TaskHead] = field(default_factory=dict)
    """Heads for fine-tuning by name: "sequence" classifies a text or a pair of texts, "tokens" each token,
    "spans" finds the first and the last token of an answer, "choices" compares the choices of a question."""
    finetuning: Mapping[str, Settings] = field(default_factory=dict)
    """Published settings of fine-tuning: task, or empty for all tasks -> fields of its recipe by dotted name."""
    finetuning_large: Mapping[str, Settings] = field(default_factory=dict)
    """Likewise the settings of models with `LARGE` hidden units or more that differ from those of smaller ones."""
    parts: tuple[Part[C], ...] = ()
    """Parts in which the model is exported, if no class of `transformers` has all of it; the first one has the encoder,
    and `export`. Together they have all parameters, some of which they may share."""
    joined: Callable[[tuple[C, ...]], C] = lambda configs: configs[0]
    """Configurations of the parts -> that of the whole model; raises ValueError if they do not fit together."""
    completed: "Callable[[C, SampleDataset], C]" = lambda config, train: config
    """(config, training samples) -> the configuration that a run records, which may identify files that it names, such
    as a teacher; raises ValueError if they do not fit the model or the samples."""
    prepare: "Callable[[nn.Module, C], None]" = lambda model, config: None
    """Gives a new model, which `build` has made of a completed configuration, what is not among its parameters."""
    auxiliary: "Callable[[C], Auxiliary[C] | None]" = lambda config: None
    """Configuration -> the shape of the auxiliary model that `prepare` gives a model, or None; raises ValueError if its
    description cannot be read or does not fit the model."""
    files: tuple[str, ...] = ()
    """Fields of `config` that name models on this machine, such as `teacher`; a model card has their names alone."""
    free_fields: tuple[str, ...] = ()
    """Fields of `config` beside those of `EncoderConfig` that may differ from the checkpoint that a new run starts
    from, such as a probability of dropout."""
    divided: Callable[[Tensors], Tensors] = unchanged
    """Change of the whole model's parameters before they are divided into parts."""
    united: Callable[[Tensors], Tensors] = unchanged
    """The inverse of `divided`: change of the parameters of parts that were joined."""
    carried: Ties = field(default_factory=dict)
    """Tensors that `divided` adds for `united`, but no part computes with, -> their names in the file of the first
    part, which `transformers` ignores."""
    further_embeddings: tuple[str, ...] = ()
    """Names of further word embeddings (V, E), which are no alias of `word_embeddings`."""
    model_type: str = ""
    """`model_type` in a `config.json`, if it is not the name of the family."""
    variants: "tuple[Family[C], ...]" = ()
    """Other forms of the family, each with its own terms, samples and class in `transformers`."""
    applies: Callable[[C], bool] = lambda config: True
    """Whether a configuration is of this form."""
    setting: str = ""
    """Setting of a recipe that selects this form, for messages."""

    @property
    def with_row_per_token(self) -> tuple[str, ...]:
        """Names of the parameters that have a row for each token of the vocabulary; tied ones have one name."""
        return (self.word_embeddings, *self.further_embeddings, self.output_bias, *self.further_biases)

    def of(self, config: C) -> "Family[C]":
        """Return the form of the family that a configuration selects: itself, or one of its variants."""
        return next(form for form in (self, *self.variants) if form.applies(config))

    def settings(self, task: str, hidden_size: int) -> Settings:
        """Return the published settings of fine-tuning for a task and a model with this number of hidden units."""
        found: dict[str, Any] = {}
        for published in (self.finetuning, self.finetuning_large if hidden_size >= LARGE else {}):
            found |= {**published.get("", {}), **published.get(task, {})}
        return found

    def measured(self, config: C) -> "Callable[[C, int], nn.Module]":
        """Return the function that builds models for measurements of memory and operations.

        Without an auxiliary model it is `build`. Otherwise its models have the one of the given configuration, whatever
        their own configuration is, as the module AUXILIARY, so that it follows them to their device and type.
        """
        auxiliary = self.auxiliary(config)
        if auxiliary is None:
            return self.build

        def build(config: C, vocab_size: int) -> "nn.Module":
            model, other = self.build(config, vocab_size), auxiliary.build(config, vocab_size)
            auxiliary.attach(model, other)
            model.add_module(AUXILIARY, other)
            return model

        return build


def under(prefix: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names prefixed with that of a module."""
    return tuple(f"{prefix}.{name}" for name in names)


def with_bias(ours: str, *theirs: str) -> Names:
    """Return the names of the weight and the bias of a module, here and in `transformers`."""
    return {f"{ours}.{kind}": under_all(theirs, kind) for kind in ("weight", "bias")}


def under_all(modules: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Return one name prefixed with that of each of several modules."""
    return tuple(f"{module}.{name}" for module in modules)


def config_from_fields(config_class: type[C], values: Mapping[str, Any], own: Container[str] = ()) -> C:
    """Build a configuration from the fields of a `config.json` of the same names, each checked for its type.

    Args:
        config_class: type of the family's configuration.
        values: all fields of the file, with defaults for those that it omits.
        own: names of fields of the configuration that such a file does not have.

    Raises:
        ValueError: a field is missing, or has another type or a value out of range; the message names it.
    """
    chosen: dict[str, Any] = {}
    for each in fields(config_class):
        if each.name in own:
            continue
        value: Any = values.get(each.name)
        kind: Any = each.type if each.type in (int, float) else str
        if not isinstance(value, (int, float) if kind is float else kind) or isinstance(value, bool):
            raise ValueError(f"config.json: {each.name} = {value!r}: must be of type {kind.__name__}")
        if kind is not str and not abs(value) <= MAX_SIZE:
            raise ValueError(f"config.json: {each.name} = {value!r}: must be a number of at most {MAX_SIZE:,}")
        chosen[each.name] = value
    try:
        return config_class(**chosen)
    except ValueError as error:
        raise ValueError(f"config.json: {error}") from None


def require_fixed(family: str, values: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    """Check the fields of a `config.json` of which a family supports only one value.

    Raises:
        ValueError: a field has another value; the message names it.
    """
    for name, only in fixed.items():
        if values.get(name, only) != only:
            raise ValueError(f"config.json: {name} = {values[name]!r}: the {family} family computes only {only!r}")

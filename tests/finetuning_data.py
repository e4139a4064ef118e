"""A small model directory and examples for tests of fine-tuning."""

import csv
import gzip
import json

import torch
import transformers
from samples import write_tokenizer

from pipeline.conversion.huggingface import export
from pipeline.families import get_family
from pipeline.families.bert import BertConfig

VOCAB_SIZE = 60
CONFIG = BertConfig(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=32,
    initializer_range=0.2,  # logits that differ, and that learn in a few steps
)
_SHAPE = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings")
GOOD, BAD = "w1 w2 w3", "w5 w6 w7"


def write_model(directory, **changes):
    """Write a pre-trained BERT as transformers loads it; `changes` are those of its configuration."""
    torch.manual_seed(0)
    config = BertConfig(**{**vars(CONFIG), **changes})
    model = get_family("bert").build(config, VOCAB_SIZE)
    tokenizer = directory.with_name(f"{directory.name}-tokenizer")
    write_tokenizer(tokenizer, VOCAB_SIZE)
    export(get_family("bert"), model.state_dict(), config, tokenizer, directory, "")
    return directory


def write_roberta(directory):
    """A pre-trained RoBERTa, whose tokenizer has the padding token where the family requires it."""
    write_tokenizer(directory, VOCAB_SIZE, pad_id=1)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.RobertaConfig(
        vocab_size=VOCAB_SIZE,
        max_position_embeddings=34,
        type_vocab_size=1,
        pad_token_id=1,
        initializer_range=0.2,
        **sizes,
    )
    transformers.RobertaForMaskedLM(config).save_pretrained(directory)
    return directory


def write_factorised(directory, kind):
    """Write a pre-trained model with embeddings of another width, an Albert or Electra, as transformers loads it."""
    write_tokenizer(directory, VOCAB_SIZE)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=VOCAB_SIZE, embedding_size=8, max_position_embeddings=32, initializer_range=0.2, **sizes
    )
    getattr(transformers, f"{kind}ForPreTraining")(config).save_pretrained(directory)
    return directory


def write_albert(directory):
    """Write a pre-trained ALBERT."""
    return write_factorised(directory, "Albert")


def write_electra(directory):
    """Write the pre-trained encoder of an ELECTRA, without its generator."""
    return write_factorised(directory, "Electra")


def write_distilbert(directory):
    """Write a pre-trained DistilBERT."""
    write_tokenizer(directory, VOCAB_SIZE)
    torch.manual_seed(0)
    sizes = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 32}
    config = transformers.DistilBertConfig(vocab_size=VOCAB_SIZE, initializer_range=0.2, **sizes)
    transformers.DistilBertForMaskedLM(config).save_pretrained(directory)
    return directory


def write_deberta(directory, objective="masked"):
    """Write a pre-trained DeBERTa; with the objective "replaced", embeddings differ from those of the generator."""

    def differ(model):
        if objective == "replaced":
            torch.nn.init.normal_(model.encoder.embeddings.word.weight, std=0.2)

    return write_exported(directory, "deberta", differ, position_buckets=8, objective=objective)


def write_spanbert(directory):
    """Write a pre-trained SpanBERT."""
    return write_exported(directory, "spanbert", span_position_size=8)


def write_exported(directory, name, change=lambda model: None, **changes):
    """Write the export of a pre-trained model of a family.

    Args:
        directory: its directory.
        name: name of the family.
        change: changes the new model.
        changes: further fields of its configuration.
    """
    torch.manual_seed(0)
    family, shape = get_family(name), {name: getattr(CONFIG, name) for name in _SHAPE}
    config = family.config(**shape, initializer_range=0.2, **changes)
    tokenizer = directory.with_name(f"{directory.name}-tokenizer")
    write_tokenizer(tokenizer, VOCAB_SIZE)
    model = family.build(config, VOCAB_SIZE)
    change(model)
    export(family, model.state_dict(), config, tokenizer, directory, "")
    return directory


def write_megatron_bert(directory):
    """Write a pre-trained MegatronBert."""
    return write_exported(directory, "megatron_bert")


def write_modernbert(directory):
    """Write a pre-trained ModernBERT."""
    return write_exported(directory, "modernbert", local_attention=8)


def write_tsv(path, columns, rows):
    """A tab-separated file with a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(cells) + "\n" for cells in (columns, *rows)), encoding="utf-8")


def sentences(count):
    """Sentences of two classes that differ in their words: (text, label)."""
    texts = [f"{BAD if number % 2 else GOOD} w{9 + number % 7} " * (1 + number % 3) for number in range(count)]
    return [(text.strip(), str(number % 2)) for number, text in enumerate(texts)]


def write_sst2(directory, train=24, dev=8, test=5):
    """Write SST-2 in the files of GLUE."""
    write_tsv(directory / "SST-2" / "train.tsv", ("sentence", "label"), sentences(train))
    write_tsv(directory / "SST-2" / "dev.tsv", ("sentence", "label"), sentences(dev))
    rows = [(str(number), text) for number, (text, _) in enumerate(sentences(test))]
    write_tsv(directory / "SST-2" / "test.tsv", ("index", "sentence"), rows)
    return directory


def options(model, data, out, /, **changes):
    """The command line of a fine-tuning of seconds; `changes` are fields with `__` for the dot."""
    settings = {
        "model": model,
        "data": data,
        "out": out,
        "optimizer.lr": 5e-3,
        "training.epochs": 3,
        "training.batch_size": 8,
        "text.max_length": 16,
        "logging.every": 2,
        "logging.tensorboard": "false",
    }
    settings |= {name.replace("__", "."): value for name, value in changes.items()}
    return [part for name, value in settings.items() for part in (f"--{name}", str(value))]


def read_json(path):
    """Return the content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_conll(directory, **splits):
    """Write files in the form of CoNLL; a sentence is given as `word:tag word:tag`."""
    directory.mkdir(parents=True, exist_ok=True)
    for split, sentences in splits.items():
        lines = [pair.replace(":", "\t") for sentence in sentences for pair in [*sentence.split(" "), ""]]
        (directory / f"{split}.conll").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return directory


def write_squad(path, articles):
    """Write a file in the form of SQuAD; an article is (context, questions in the form of the file)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = [
        {"title": f"article {number}", "paragraphs": [{"context": context, "qas": qas}]}
        for number, (context, qas) in enumerate(articles)
    ]
    content = json.dumps({"version": "made", "data": data}).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_csv(path, columns, rows):
    """A table of comma-separated values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])

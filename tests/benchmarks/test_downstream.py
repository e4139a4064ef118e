"""Both sides of the comparison read the same tokens and labels; results are kept, and the table has medians."""

import numpy as np
import pytest
import transformers
from finetuning_data import VOCAB_SIZE, options, write_conll, write_model, write_squad, write_sst2, write_tsv

from benchmarks import downstream
from benchmarks.downstream import Benchmark, Result, Variant, table
from benchmarks.downstream_data import Subset, write_subset
from benchmarks.downstream_trainer import TASKS, sequence_task
from pipeline.data.labels import IGNORED
from pipeline.jobs.finetuning.inputs import open_inputs
from pipeline.jobs.finetuning.recipe import parse
from pipeline.tasks.encoding import batch_of

CONTEXT = "w1 w2 w3 w5 w6 w7 w9 w10 w11 w13 w14 w1 w2 w3"
SHORT = ["--training.epochs", "1", "--training.batch_size", "8", "--text.max_length", "16", "--optimizer.lr", "5e-3"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A directory with a model and the data of four tasks."""
    folder = tmp_path_factory.mktemp("downstream")
    write_model(folder / "model")
    write_sst2(folder / "glue", train=16, dev=8)
    rows = [("w1 w2", "w3", "entailment"), ("w5", "w6 w7", "not_entailment")] * 3
    for split in ("train", "dev"):
        write_tsv(folder / "glue" / "RTE" / f"{split}.tsv", ("sentence1", "sentence2", "label"), rows)
    tagged = ["w1:B-x w2p4:I-x w3:O", "w5:O w6:O w7:B-y w9:O", "w9p8p12:O w1:B-x"]
    write_conll(folder / "tokens", train=tagged, dev=tagged)
    articles = []
    for number in range(5):
        answers = [{"text": "w9 w10", "answer_start": 18}] if number % 2 else [{"text": "w1", "answer_start": 0}]
        articles.append((CONTEXT, [{"id": f"q{number}", "question": "w5 w6?", "answers": answers}]))
    write_squad(folder / "squad.json", articles)
    return folder


def data_of(folder, task):
    return {"squad": folder / "squad.json", "tokens": folder / "tokens"}.get(task, folder / "glue")


@pytest.mark.parametrize("task", ["sst2", "rte", "tokens", "squad"])
def test_both_sides_have_the_same_tokens_and_labels(folder, tmp_path, task):
    """The features of Trainer are the batches of the pipeline with padding, and right logits have the score 1."""
    data = write_subset(task, data_of(folder, task), tmp_path / "data", Subset(4, 3))
    changes = {"squad__max_question": 4, "squad__stride": 3}
    recipe = parse([task, *options(folder / "model", data, tmp_path / "run", **changes)])
    inputs, tokenizer = open_inputs(recipe), transformers.AutoTokenizer.from_pretrained(recipe.model)
    theirs = TASKS.get(task, sequence_task)(recipe, tokenizer)
    for split, features in (("train", theirs.train.features), ("dev", theirs.dev.features)):
        ours = inputs.task.splits[split]
        rows = np.arange(len(ours))
        batch = batch_of(ours, rows, inputs.task.targets(split, rows), inputs.sequences)
        assert np.concatenate([feature["input_ids"] for feature in features]).tolist() == batch.input_ids.tolist()
        assert (
            np.concatenate([feature["token_type_ids"] for feature in features]).tolist() == batch.segment_ids.tolist()
        )
        if task == "squad":
            spans = [[feature["start_positions"], feature["end_positions"]] for feature in features]
            assert spans == batch.targets["spans"].tolist() and len(spans) > 2  # one question of dev has several
        elif task == "tokens":
            tags = np.concatenate([feature["labels"] for feature in features])
            assert np.where(tags == -100, IGNORED, tags).tolist() == batch.targets["labels"].tolist()
        else:
            assert [feature["label"] for feature in features] == batch.targets["labels"].tolist()
    assert theirs.labels == inputs.task.outputs and theirs.score(right_logits(task, theirs)) == 1


def right_logits(task, theirs):
    """Return the logits of the dev features that choose the labels, padded as Trainer pads them."""
    features, longest = theirs.dev.features, max(len(feature["input_ids"]) for feature in theirs.dev.features)
    if task == "squad":
        logits = np.zeros((2, len(features), longest))
        for number, feature in enumerate(features):
            logits[0, number, feature["start_positions"]] = logits[1, number, feature["end_positions"]] = 9
        return tuple(logits)
    if task == "tokens":
        labels = np.array([feature["labels"] + [-100] * (longest - len(feature["labels"])) for feature in features])
        return np.eye(theirs.labels)[np.maximum(labels, 0)]
    return np.eye(theirs.labels)[[feature["label"] for feature in features]]


def test_a_subset_is_chosen_by_its_seed(folder, tmp_path):
    """Equal numbers and seed choose the same examples; a directory has one subset."""
    files = [
        (write_subset("sst2", folder / "glue", tmp_path / name, Subset(6, 4, seed)) / "train.tsv").read_text()
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert files[0] == files[1] != files[2] and files[0].count("\n") == 7
    assert set(files[0].splitlines()) <= set((folder / "glue" / "SST-2" / "train.tsv").read_text().splitlines())
    with pytest.raises(ValueError, match=r"a holds another subset .*; choose another --out"):
        write_subset("sst2", folder / "glue", tmp_path / "a", Subset(5, 4))


def test_missing_runs_are_done_and_others_kept(folder, tmp_path, monkeypatch, capsys):
    """A repeated command trains nothing, and other settings are an error; random and frozen encoders are columns."""
    model = str(folder / "model")
    models = [f"random:{model}", f"frozen:{model}"]
    given = {"glue": folder / "glue", "tasks": ["sst2"], "seeds": 1, "subset": Subset(8, 4), "options": SHORT}
    downstream.main(tmp_path, models, **given)
    shown = capsys.readouterr().out.splitlines()
    assert (
        not list((tmp_path / "results").glob("*/sst2-1/")) and len(list((tmp_path / "results").glob("*/*.json"))) == 2
    )
    monkeypatch.setattr(Benchmark, "score", None)
    downstream.main(tmp_path, models, **given)
    assert capsys.readouterr().out.splitlines() == shown
    with pytest.raises(ValueError, match="is the result of another recipe; choose another --out, or remove the file"):
        downstream.main(tmp_path, models, **given | {"options": [*SHORT, "--training.dropout", "0"]})
    with pytest.raises(ValueError, match="--tasks squad: has no data; give --squad, or another task"):
        downstream.main(tmp_path, models, **given | {"tasks": ["squad"]})
    with pytest.raises(ValueError, match="--tasks sst2: has no data; give --glue, or another task"):
        downstream.main(tmp_path, models, tasks=["sst2"])


def test_random_weights_follow_from_the_seed(folder, tmp_path):
    """Each seed has other weights of the model's shape, and its tokenizer."""
    read = [
        transformers.AutoModel.from_pretrained(downstream.random_model(folder / "model", tmp_path / name, seed))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    words = [model.embeddings.word_embeddings.weight for model in read]
    assert words[0].equal(words[1]) and not words[0].equal(words[2]) and len(words[0]) == VOCAB_SIZE
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "a").tokenize("w1 w2") == ["w1", "w2"]


def test_the_table_has_medians_ranges_and_differences():
    """Two columns are compared: the difference of their medians beside the larger range, and their processor time."""
    columns = [[Result(score, 60) for score in scores] for scores in ((0.8, 0.5, 0.9), (0.7, 0.75, 0.7))]
    shown = table([Variant("m", "pipeline"), Variant("m", "trainer")], {"rte": columns}).splitlines()
    assert shown[0] == "| task | m, pipeline | m, trainer | difference | larger range |"
    assert shown[2] == "| rte | 0.800 (0.500 to 0.900) | 0.700 (0.700 to 0.750) | +0.100 | 0.400 |"
    assert shown[3] == "| minutes of processor time | 3.0 | 3.0 |  |  |"

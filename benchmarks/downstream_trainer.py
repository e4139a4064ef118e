"""Fine-tuning with `transformers.Trainer`, with the settings of a recipe of `pipeline.finetune`.

Examples become features by the model's tokenizer in `transformers`, as its example scripts do it; the collators pad to
the longest one of a batch. Labels of words are at their first tokens, and contexts are divided into windows as the
recipe says. The metrics are those of `pipeline.tasks`, of the best epoch as there.

Shapes: N features, L tokens of the longest one, C classes.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch.utils.data import Dataset

from pipeline.jobs.finetuning.recipe import FinetuningRecipe
from pipeline.tasks import conll, glue
from pipeline.tasks.entities import OUTSIDE, entity_scores
from pipeline.tasks.glue import GLUE
from pipeline.tasks.metrics import measure
from pipeline.tasks.splits import DEV, TRAIN
from pipeline.tasks.squad import Question, read_squad
from pipeline.tasks.squad_metrics import score
from pipeline.tasks.tokens import labels_of

UNREAD = ("word_ids", "offset_mapping", "inside")
"""Parts of features that place predictions in the text."""
IGNORED = -100
"""Label of tokens without one, and what Trainer fills up logits with."""


class Features(Dataset[dict[str, Any]]):
    """Examples as the collators read them, without what the model does not."""

    def __init__(self, features: list[dict[str, Any]]) -> None:
        self.features = [{name: value for name, value in feature.items() if name not in UNREAD} for feature in features]

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.features[index]


@dataclass(frozen=True)
class Task:
    """A task as Trainer needs it."""

    auto_class: str
    """Auto class of the model in `transformers`."""
    collator: str
    """Class of the collator there."""
    labels: int
    """Number of logits C."""
    train: Features
    dev: Features
    score: Callable[[Any], float]
    """Logits of the dev features -> the metric that chooses the epoch."""


def sequence_task(recipe: FinetuningRecipe, tokenizer: Any) -> Task:
    """Returns a classification of GLUE."""
    task = GLUE[recipe.task]
    splits = glue.read_splits(task, Path(recipe.data))

    def features(split: str) -> list[dict[str, Any]]:
        made = []
        for row in splits[split]:
            texts = [row[column] for column in task.texts]
            inputs = tokenizer(*texts, truncation=True, max_length=recipe.text.max_length)
            made.append({**inputs, "label": task.labels.index(row[task.label])})
        return made

    dev = features(DEV)
    gold = np.array([feature["label"] for feature in dev])

    def scored(logits: Any) -> float:
        return measure(task.metrics[:1], gold, logits.argmax(1))[task.metrics[0]]

    name, collator = "AutoModelForSequenceClassification", "DataCollatorWithPadding"
    return Task(name, collator, len(task.labels), Features(features(TRAIN)), Features(dev), scored)


def token_task(recipe: FinetuningRecipe, tokenizer: Any) -> Task:
    """Returns a classification of words; words behind the longest sequence are cut and predicted as O."""
    splits = conll.read_splits(Path(recipe.data), recipe.tokens)
    labels = labels_of(splits[TRAIN])

    def features(split: str) -> list[dict[str, Any]]:
        made = []
        for sentence in splits[split]:
            inputs = tokenizer(
                sentence.words, is_split_into_words=True, truncation=True, max_length=recipe.text.max_length
            )
            words, tags = inputs.word_ids(), [IGNORED] * len(inputs["input_ids"])
            for place, word in enumerate(words):
                if word is not None and word != words[place - 1]:
                    tags[place] = labels.index(sentence.tags[word])
            made.append({**inputs, "labels": tags, "word_ids": words})
        return made

    dev = features(DEV)

    def scored(logits: Any) -> float:
        best = [[labels[number] for number in row] for row in logits.argmax(2)]
        predicted = []
        for sentence, feature, tags in zip(splits[DEV], dev, best, strict=True):
            found = [OUTSIDE] * len(sentence.words)
            for place, label in enumerate(feature["labels"]):
                if label != IGNORED:
                    found[feature["word_ids"][place]] = tags[place]
            predicted.append(found)
        return entity_scores([sentence.tags for sentence in splits[DEV]], predicted)["f1"]

    name, collator = "AutoModelForTokenClassification", "DataCollatorForTokenClassification"
    return Task(name, collator, len(labels), Features(features(TRAIN)), Features(dev), scored)


def span_task(recipe: FinetuningRecipe, tokenizer: Any) -> Task:
    """Returns question answering in which every question has an answer."""
    splits = read_squad(Path(recipe.data), recipe.squad).splits
    train = [window for question in splits[TRAIN] for window in windows(question, recipe, tokenizer)]
    owned = [(number, w) for number, asked in enumerate(splits[DEV]) for w in windows(asked, recipe, tokenizer)]

    def scored(logits: Any) -> float:
        best = [(-np.inf, "")] * len(splits[DEV])
        for (number, window), starts, ends in zip(owned, *logits, strict=True):
            best[number] = max(best[number], best_span(splits[DEV][number], window, starts, ends, recipe))
        values = [
            score(text, [answer.text for answer in asked.answers]).f1
            for asked, (_, text) in zip(splits[DEV], best, strict=True)
        ]
        return float(np.mean(values))

    name, collator = "AutoModelForQuestionAnswering", "DataCollatorWithPadding"
    return Task(name, collator, 2, Features(train), Features([window for _, window in owned]), scored)


def windows(question: Question, recipe: FinetuningRecipe, tokenizer: Any) -> list[dict[str, Any]]:
    """Returns the windows of a question, which begin every `squad.stride` tokens of the context.

    "inside" says which tokens are of the context.
    """
    asked = tokenizer(question.question, add_special_tokens=False)["input_ids"]
    room = recipe.text.max_length - tokenizer.num_special_tokens_to_add(pair=True) - len(asked)
    found = tokenizer(
        question.question,
        question.context,
        truncation="only_second",
        max_length=recipe.text.max_length,
        stride=max(0, room - recipe.squad.stride),  # of the tokenizer: tokens that two windows share
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    answer = question.answers[0]
    first, end = answer.start, answer.start + len(answer.text)
    made = []
    for number in range(len(found["input_ids"])):
        feature = {name: found[name][number] for name in found if name != "overflow_to_sample_mapping"}
        inside = np.array([of == 1 for of in found.sequence_ids(number)])
        offsets = np.array(feature["offset_mapping"])
        of_answer = np.flatnonzero(inside & (offsets[:, 1] > first) & (offsets[:, 0] < end))
        whole = len(of_answer) and offsets[inside][0, 0] <= first and end <= offsets[inside][-1, 1]
        start, last = (int(of_answer[0]), int(of_answer[-1])) if whole else (0, 0)
        made.append(feature | {"inside": inside, "start_positions": start, "end_positions": last})
    return made


def best_span(
    question: Question, window: dict[str, Any], starts: Any, ends: Any, recipe: FinetuningRecipe
) -> tuple[float, str]:
    """Returns score and text of the best answer in a window, from the logits (L,) of its first and last token."""
    places = np.flatnonzero(window["inside"])
    sums = starts[places][:, None] + ends[places][None, :]
    lengths = places[None, :] - places[:, None]
    sums = np.where((lengths >= 0) & (lengths < recipe.squad.max_answer), sums, -np.inf)
    first, last = np.unravel_index(int(sums.argmax()), sums.shape)
    begin, end = window["offset_mapping"][places[first]][0], window["offset_mapping"][places[last]][1]
    return float(sums[first, last]), question.context[begin:end].strip()


TASKS: dict[str, Callable[[FinetuningRecipe, Any], Task]] = {"tokens": token_task, "squad": span_task}
"""Functions of (recipe, tokenizer) by task; all others are classifications of GLUE."""


def finetuned_score(recipe: FinetuningRecipe) -> float:
    """Fine-tunes a model with Trainer, and returns the metric of the best epoch on dev."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(recipe.model)
    task = TASKS.get(recipe.task, sequence_task)(recipe, tokenizer)
    transformers.set_seed(recipe.seed)
    model = load(recipe, task)
    with tempfile.TemporaryDirectory() as directory:
        trainer = transformers.Trainer(
            model,
            arguments(recipe, directory, len(task.train)),
            getattr(transformers, task.collator)(tokenizer),
            task.train,
            task.dev,
            compute_metrics=lambda predicted: {"score": task.score(predicted.predictions)},
        )
        trainer.train()
    return max(entry["eval_score"] for entry in trainer.state.log_history if "eval_score" in entry)


def load(recipe: FinetuningRecipe, task: Task) -> Any:
    """Returns the model, with a new head and the recipe's dropout."""
    dropout = recipe.training.dropout
    changed = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout, "num_labels": task.labels}
    config = transformers.AutoConfig.from_pretrained(recipe.model, **changed)
    model = getattr(transformers, task.auto_class).from_pretrained(recipe.model, config=config, dtype=torch.float32)
    if recipe.training.frozen_encoder:
        for name, parameter in model.base_model.named_parameters():
            parameter.requires_grad_(name.startswith("pooler."))
    return model


def arguments(recipe: FinetuningRecipe, directory: str, examples: int) -> transformers.TrainingArguments:
    """Returns the settings of the recipe for Trainer, which evaluates after each epoch and saves nothing."""
    training, optimizer = recipe.training, recipe.optimizer
    steps = training.epochs * -(-examples // training.batch_size)
    silent: dict[str, Any] = {"save_strategy": "no", "logging_strategy": "no", "report_to": "none"}
    return transformers.TrainingArguments(
        directory,
        num_train_epochs=training.epochs,
        per_device_train_batch_size=training.batch_size,
        per_device_eval_batch_size=training.batch_size,
        learning_rate=optimizer.lr,
        adam_beta1=optimizer.beta1,
        adam_beta2=optimizer.beta2,
        adam_epsilon=optimizer.eps,
        weight_decay=optimizer.weight_decay,
        max_grad_norm=optimizer.max_grad_norm,
        warmup_steps=round(steps * training.warmup_proportion),
        lr_scheduler_type="linear",
        eval_strategy="epoch",
        seed=recipe.seed,
        disable_tqdm=True,
        **silent,
    )

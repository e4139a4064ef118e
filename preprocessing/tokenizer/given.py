"""Reads a given vocabulary: finds its files, and the normalization of text that suits it.

A `vocab.txt` does not state whether it is cased. `tokenizer_config.json` beside it may state it; otherwise the tokens
decide. A user's option takes precedence over both, and contradictions are reported.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, normalizers

from preprocessing.errors import DataError
from preprocessing.files import read_json, sha256_file
from preprocessing.tokenizer import bytelevel, unigram
from preprocessing.tokenizer.normalization import Settings, is_plain, marks_of, settings_of, text_of, unreachable
from preprocessing.tokenizer.saving import JSON_NAME, VOCAB_HELP, load_tokenizer
from preprocessing.tokenizer.wordpiece import make_tokenizer, read_vocabulary

CONFIG_NAME = "tokenizer_config.json"
VOCAB_NAME = "vocab.txt"
MODEL_SUFFIX = ".model"
MIN_SHARE = 0.005
"""Share of the tokens with upper case, or with marks, above which a vocabulary has that property. 29 % of the tokens of
bert-base-cased have upper case, none of bert-base-uncased."""
MAX_UNREACHABLE = 0.01
"""Share of unreachable tokens above which they are reported."""
_MIN_LOWER = 100
"""Fewest tokens with lower-case letters for which the absence of upper case is conclusive."""
_SHOWN = 3


@dataclass(frozen=True)
class Given:
    """A tokenizer read from files, and notes for its user."""

    tokenizer: Tokenizer
    """The tokenizer with its normalization."""
    notes: list[str]
    """Messages of one line each."""


def read_tokenizer(path: Path, lower_case: bool | None = None, strip_accents: bool | None = None) -> Tokenizer:
    """The tokenizer of `read_given`, without its notes."""
    return read_given(path, lower_case, strip_accents).tokenizer


def read_given(path: Path, lower_case: bool | None = None, strip_accents: bool | None = None) -> Given:
    """The tokenizer at `path`, in one of the forms of VOCAB_HELP.

    Args:
        path: file or directory.
        lower_case: whether text is lower-cased; None: as the files state, otherwise as the tokens show.
        strip_accents: whether combining marks are removed; None: as for `lower_case`.

    Raises:
        DataError: there is no vocabulary, or its files contradict `lower_case` or `strip_accents`.
    """
    file = _vocabulary_file(path)
    if file.name == JSON_NAME:
        return _read_whole(path, lower_case, strip_accents)
    if file.name == bytelevel.VOCAB_NAME:
        tokenizer = bytelevel.read_files(file.parent)
        fitting = _fits(settings_of(tokenizer), lower_case, strip_accents)
        _check_option(path, settings_of(tokenizer), lower_case, strip_accents, fitting)
        return Given(tokenizer, [])
    if file.suffix == MODEL_SUFFIX:
        pieces = unigram.read_model(file, lower_case=False).get_vocab()
        settings, notes = _judge(file, pieces, lower_case, strip_accents)
        tokenizer = unigram.read_model(file, settings.lower_case, settings.strip_accents)
    else:
        tokens = read_vocabulary(file)
        settings, notes = _judge(file, tokens, lower_case, strip_accents)
        notes += _repetitions(file, tokens)
        tokenizer = make_tokenizer(tokens, settings.lower_case, settings.strip_accents, settings.chinese_characters)
    return Given(tokenizer, notes + _unfitting(path, tokenizer))


def identity(path: Path) -> str:
    """Identity of the content that `read_given` reads: the checksums of its files."""
    file = _vocabulary_file(path)
    names = [file.name] + [bytelevel.MERGES_NAME] * (file.name == bytelevel.VOCAB_NAME)
    return " ".join(sha256_file(file.parent / name) for name in names)


def _vocabulary_file(path: Path) -> Path:
    """The vocabulary file: `path` itself, or the one in that directory."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise DataError(f"--vocab = {path}: no such file or directory; give {VOCAB_HELP}")
    models = sorted(path.glob(f"*{MODEL_SUFFIX}"))
    for file in (
        path / JSON_NAME,
        path / bytelevel.VOCAB_NAME,
        path / VOCAB_NAME,
        *(models if len(models) == 1 else []),
    ):
        if file.is_file():
            return file
    raise DataError(f"--vocab = {path}: holds no vocabulary; give {VOCAB_HELP}")


def _read_whole(path: Path, lower_case: bool | None, strip_accents: bool | None) -> Given:
    """The tokenizer of a `tokenizer.json`; for BERT with the settings of `tokenizer_config.json`, as in
    `transformers`."""
    directory = path if path.is_dir() else path.parent
    tokenizer = load_tokenizer(directory)
    found = settings_of(tokenizer)
    said = found
    if isinstance(tokenizer.normalizer, normalizers.BertNormalizer):
        said = _read_config(directory, found)
    fitting = [each for each in (found, said) if _fits(each, lower_case, strip_accents)]
    if len(fitting) == 2 and said != found:
        raise DataError(
            f"{directory}: {JSON_NAME} has {_settings_text(found)}, {CONFIG_NAME} beside it has "
            f"{_settings_text(said)}; make the two agree, or give --lower_case and --strip_accents"
        )
    _check_option(path, found, lower_case, strip_accents, bool(fitting))
    if fitting[0] != found:
        tokenizer.normalizer = normalizers.BertNormalizer(
            lowercase=said.lower_case,
            strip_accents=None if said.strip_accents == said.lower_case else said.strip_accents,
            handle_chinese_chars=said.chinese_characters,
        )
    return Given(tokenizer, _unfitting(path, tokenizer))


def _fits(settings: Settings, lower_case: bool | None, strip_accents: bool | None) -> bool:
    return lower_case in (None, settings.lower_case) and strip_accents in (None, settings.strip_accents)


def _check_option(
    path: Path, found: Settings, lower_case: bool | None, strip_accents: bool | None, is_fitting: bool
) -> None:
    if not is_fitting:
        name, value = ("lower_case", lower_case)
        if lower_case in (None, found.lower_case):
            name, value = ("strip_accents", strip_accents)
        raise DataError(f"{path}: {name} = {value}: the vocabulary has {_settings_text(found)}; leave the option out")


def _settings_text(settings: Settings) -> str:
    """The settings as text for messages."""
    text = f"lower_case {settings.lower_case}, strip_accents {settings.strip_accents}"
    return text if settings.chinese_characters else f"{text}, tokenize_chinese_chars False"


def _read_config(directory: Path, default: Settings) -> Settings:
    """The settings in `tokenizer_config.json` of the directory; those that it omits are taken from `default`.

    Raises:
        DataError: the file is damaged, or a setting is not true or false.
    """
    values = read_config(directory)
    lower_case = values.get("do_lower_case")
    lower_case = default.lower_case if lower_case is None else lower_case
    strips = values.get("strip_accents")
    if strips is None and values.get("keep_accents") is not None:
        strips = not values["keep_accents"]
    if strips is None:
        strips = default.strip_accents if lower_case == default.lower_case else lower_case
    chinese = values.get("tokenize_chinese_chars")
    return Settings(lower_case, strips, default.chinese_characters if chinese is None else chinese)


def read_config(directory: Path) -> dict[str, bool | None]:
    """The normalization settings in `tokenizer_config.json` of the directory; empty if there is no such file.

    Raises:
        DataError: the file is damaged, or a setting is not true, false or null.
    """
    path = directory / CONFIG_NAME
    if not path.is_file():
        return {}
    record: dict[str, Any] = read_json(path)
    names = ("do_lower_case", "strip_accents", "keep_accents", "tokenize_chinese_chars")
    found = {name: record[name] for name in names if name in record}
    for name, value in found.items():
        if value not in (True, False, None) or (isinstance(value, int | float) and not isinstance(value, bool)):
            raise DataError(f"{path}: {name} is {value!r}, expected true, false or null; correct it or remove the line")
    return found


def _judge(
    file: Path, tokens: Iterable[str], lower_case: bool | None, strip_accents: bool | None
) -> tuple[Settings, list[str]]:
    """The settings for a vocabulary file that does not contain them, and notes on how they were determined.

    Args:
        file: the vocabulary file.
        tokens: its tokens.
        lower_case: as in `read_given`.
        strip_accents: as in `read_given`.
    """
    texts = [text_of(token) for token in tokens if is_plain(token)]
    cased = _having(texts, lambda text: text.lower() != text)
    marked = _having(texts, lambda text: bool(marks_of(text)))
    by_tokens = Settings(not cased, not cased and not marked)
    said = read_config(file.parent)
    notes = []
    judged = by_tokens
    if said:
        judged = _read_config(file.parent, by_tokens)
    elif cased and lower_case is None:
        notes.append(f"{file}: {_percent(texts, cased)} of the tokens have upper case, so text keeps its case")
    elif marked and lower_case is None and strip_accents is None:
        notes.append(f"{file}: {_percent(texts, marked)} of the tokens have accents or marks, so text keeps them")
    lower = judged.lower_case if lower_case is None else lower_case
    strips = judged.strip_accents if lower == judged.lower_case else lower and not marked
    settings = Settings(lower, strips if strip_accents is None else strip_accents, judged.chinese_characters)
    if said and not _fits(judged, lower_case, strip_accents):
        notes.append(
            f"{file}: {CONFIG_NAME} beside it has {_settings_text(judged)}; the options take precedence: "
            f"{_settings_text(settings)}"
        )
    return settings, notes


def _having(texts: list[str], has: Callable[[str], bool]) -> list[str]:
    """The texts with a property; empty if they are so few that they may be accidental."""
    found = [text for text in texts if has(text)]
    return found if len(found) > MIN_SHARE * len(texts) else []


def _percent(texts: list[str], part: list[str]) -> str:
    return f"{len(part) / len(texts):.0%}"


def _repetitions(file: Path, tokens: list[str]) -> list[str]:
    """A note on tokens that occur on several lines; empty if there are none."""
    lines: dict[str, list[int]] = {}
    for number, token in enumerate(tokens, 1):
        lines.setdefault(token, []).append(number)
    repeated = {token: numbers for token, numbers in lines.items() if len(numbers) > 1}
    if not repeated:
        return []
    token, numbers = next(iter(repeated.items()))
    return [
        f"{file}: {len(repeated):,} tokens stand on several lines, such as {token!r} on {numbers[0]} and "
        f"{numbers[-1]}; the last line counts, as in transformers"
    ]


def _unfitting(path: Path, tokenizer: Tokenizer) -> list[str]:
    """Notes on a normalizer that does not fit the tokens."""
    settings, found = settings_of(tokenizer), unreachable(tokenizer)
    if found.share > MAX_UNREACHABLE:
        shown = ", ".join(map(repr, found.changed[:_SHOWN]))
        return [
            f"{path}: {len(found.changed):,} of {found.tokens:,} tokens never occur, such as {shown}, as text has "
            f"{_settings_text(settings)}: see --lower_case and --strip_accents"
        ]
    texts = [text_of(token) for token in tokenizer.get_vocab() if is_plain(token)]
    num_lower = sum(text.upper() != text and text.lower() == text for text in texts)
    keeps_case = isinstance(tokenizer.normalizer, normalizers.BertNormalizer) and not settings.lower_case
    if keeps_case and num_lower >= _MIN_LOWER and all(text.lower() == text for text in texts):
        return [
            f"{path}: no token has upper case, but text has lower_case False, so words with upper case are unknown: "
            "see --lower_case"
        ]
    return []

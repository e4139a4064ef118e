"""Laws of training that every kind of preprocessing/tokenizer/registry.py keeps."""

import subprocess
import sys
from pathlib import Path

import pytest

from preprocessing.tokenizer.defaults import DEFAULTS
from preprocessing.tokenizer.registry import KINDS

ROOT = Path(__file__).parents[3]
PROGRAM = """
import hashlib, sys, pyarrow as pa
from random import Random
from preprocessing.tokenizer.registry import KINDS
random, letters = Random(0), 'abcdefghijklmnopqrstuvwxyzäöü'
words = [''.join(random.choices(letters, k=random.randint(2, 6))) for _ in range(400)]
text = [' '.join(random.choices(words, k=9)) for _ in range(300)]
kind = KINDS[sys.argv[1]]
tokenizer = kind.train([pa.array(text), pa.array(text[:50])], 500, kind.lower_case)
print(tokenizer.get_vocab_size(), hashlib.sha256(tokenizer.to_str().encode()).hexdigest())
"""


@pytest.mark.parametrize("name", KINDS)
def test_a_trained_tokenizer_depends_on_the_text_alone(name):
    """Two processes with other hash seeds and numbers of threads train the same tokenizer, also where frequencies are
    equal.
    """
    outputs = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM, name],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads},
            capture_output=True,
            check=True,
        ).stdout
        for seed, threads in (("0", "1"), ("1", "4"))
    }
    assert len(outputs) == 1


def test_the_options_know_every_kind():
    """The options list every kind in the order of the registry."""
    assert list(DEFAULTS) == list(KINDS)

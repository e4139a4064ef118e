"""The page on adding a family shows the code of the family that it builds."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = ("pipeline/families/spanbert.py", "pipeline/model/spans.py")
TESTS = ("pipeline/families/test_spanbert.py", "pipeline/data/test_ngrams.py")


def page() -> str:
    return (ROOT / "docs" / "add-a-family.md").read_text()


def test_every_line_of_code_is_in_the_family():
    """A line of a Python block is a line of SpanBERT's module or model."""
    lines = {line for source in SOURCES for line in (ROOT / source).read_text().splitlines()}
    shown = [line for block in re.findall(r"```python\n(.*?)```", page(), re.DOTALL) for line in block.splitlines()]
    assert len(shown) > 10 and [line for line in shown if line not in lines] == []


def test_every_test_that_is_named_exists():
    """A test that the page names is in the tests of SpanBERT or of its masks."""
    defined = {name for file in TESTS for name in re.findall(r"def (test_\w+)", (ROOT / "tests" / file).read_text())}
    named = set(re.findall(r"`(test_\w+)`", page()))
    assert len(named) > 5 and named <= defined

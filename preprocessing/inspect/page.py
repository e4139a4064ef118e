"""An overview as a self-contained HTML page with plots, without scripts and external resources."""

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from preprocessing.errors import DataError
from preprocessing.files import write_text
from preprocessing.inspect import plots
from preprocessing.inspect.facts import (
    TEXT_COLUMNS,
    facts_of_documents,
    facts_of_samples,
    facts_of_texts,
    facts_of_tokenizer,
    files_left_out,
)
from preprocessing.inspect.figures import SamplesFigures
from preprocessing.inspect.overview import Overview
from preprocessing.inspect.suspicions import suspicions

_TEMPLATE = "page.html"


@dataclass(frozen=True)
class Plot:
    """A plot with its title and caption."""

    title: str
    """Title of the plot."""
    svg: Markup
    """The plot as an `svg` element."""
    caption: str
    """How to read the plot, and what is normal."""


def write_page(path: Path, overview: Overview) -> None:
    """Writes the page atomically.

    Raises:
        DataError: the file cannot be written.
    """
    try:
        write_text(path, page(overview))
    except OSError as error:
        raise DataError(f"--html: {path}: cannot be written ({error.strerror}); give another file") from None


def page(overview: Overview) -> str:
    """The HTML of the page; all text from the data is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template(_TEMPLATE).render(
        overview=overview,
        suspicions=suspicions(overview),
        facts_of_documents=facts_of_documents,
        facts_of_samples=facts_of_samples,
        facts_of_texts=facts_of_texts,
        facts_of_tokenizer=facts_of_tokenizer,
        files_left_out=files_left_out,
        text_columns=TEXT_COLUMNS,
        plots_of=plots_of,
    )
    return html.encode("utf-8", "replace").decode("utf-8")  # A file name may contain bytes that are not UTF-8.


def plots_of(figures: SamplesFigures) -> list[Plot]:
    """The plots of a samples directory; none if it is empty."""
    if not figures.filled:
        return []
    found = [
        Plot(
            "Lengths",
            Markup(plots.lengths(figures)),
            "Most samples should be at the right edge (mind the logarithmic axis). Many that are shorter mean that "
            "documents end before a sample is full; a small share is short on purpose (short_seq_prob).",
        ),
        Plot(
            "Token frequencies",
            Markup(plots.frequencies(figures)),
            "In natural language about a straight line that bends down at the end. A first point far above the rest "
            "is a token that dominates the text; a step is text that is repeated many times.",
        ),
    ]
    if any(split.counts.pairs for split in figures.filled):
        found.append(
            Plot(
                "Where A ends",
                Markup(plots.openings(figures)),
                "A pair is cut between two sentences, so all shares occur. The peak in the middle is normal: the "
                "longer segment is cut until the pair fits, often to the length of the other. Peaks at the edges are "
                "very short segments.",
            )
        )
    return found

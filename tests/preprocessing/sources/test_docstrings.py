"""Laws of preprocessing/sources/docstrings.py."""

import pytest

from preprocessing.sources.docstrings import docstring_prose

GOOGLE = """Returns the largest element of a tensor.

    Args:
        input (Tensor): the input tensor that is searched for
            the largest element
        dim (int, optional): The dimension that is reduced. Default: ``None``.

    Returns:
        Tensor: a tensor with the result of the search.

    Raises:
        ValueError: If the dimension does not exist in the input.

    Example::

        >>> a = max(input)
        This is the output of the example above.

    The result of this function is never a view.
    """

NUMPY = """
    Return the sum of the elements of an array.

    Parameters
    ----------
    a : array_like
        Elements to sum over the axis that is given.
    axis : None or int, optional
        The default is to sum all of the elements.

        A second paragraph of the same parameter is kept.

    See Also
    --------
    numpy.mean : The mean of the elements of an array.

    Examples
    --------
    >>> np.sum([0.5, 1.5])
    2.0

    This sentence is between two of the examples.
    """

SPHINX = """Opens a file and returns the object for it.

    :param str path: the name of the file to be opened.
    :type path: str
    :return: an object of the class :class:`~io.TextIOWrapper` for the file.

    .. note:: The caller is the one that closes the file.

    .. code-block:: python

        this is not the text that you are looking for.

    .. warning::
        This is what happens if it does not.
    """

MARKDOWN = """Loads the *pretrained* weights of a `Model` from [the hub](https://example.org) .

    ```python
    This is the code, and it is not the text.
    ```

    | this is a | table of the things. |

    - the first item of `~.Model.list`;
    * `name` (`str`, *optional*, defaults to `"a"`): The name of the model in the list.
    """

CASES = {
    GOOGLE: [
        "Returns the largest element of a tensor.",
        "The input tensor that is searched for the largest element.",
        "The dimension that is reduced.",
        "A tensor with the result of the search.",
        "If the dimension does not exist in the input.",
        "The result of this function is never a view.",
    ],
    NUMPY: [
        "Return the sum of the elements of an array.",
        "Elements to sum over the axis that is given.",
        "The default is to sum all of the elements.",
        "A second paragraph of the same parameter is kept.",
        "This sentence is between two of the examples.",
    ],
    SPHINX: [
        "Opens a file and returns the object for it.",
        "The name of the file to be opened.",
        "An object of the class TextIOWrapper for the file.",
        "The caller is the one that closes the file.",
        "This is what happens if it does not.",
    ],
    MARKDOWN: [
        "Loads the pretrained weights of a Model from the hub.",
        "The first item of Model.list.",
        "The name of the model in the list.",
    ],
}


@pytest.mark.parametrize("text", CASES, ids=["google", "numpy", "sphinx", "markdown"])
def test_each_convention_becomes_sentences(text):
    """Docstrings of each convention become sentences: descriptions of parameters get a capital letter and a full stop,
    and code and headings are removed.
    """
    assert docstring_prose(text) == CASES[text]


NOT_ENGLISH = [
    "Too few words here.",
    "This sentence of the text has no end",
    "It is equal to {x} of the given values.",
    "The result is a^2 + b_i * c in the end.",
    "See https://example.org for more of the text.",
    "The parameters use_cache, num_layers, and max_len are the new ones.",
    "Tensor input output weights gradient parameters optimizer.",
    "(This is a sentence that has no second bracket.",
    "Diese Zeile wurde nicht auf Englisch geschrieben.",
]


@pytest.mark.parametrize("sentence", NOT_ENGLISH)
def test_a_sentence_that_is_no_english_prose_is_dropped_alone(sentence):
    """A sentence that is no English prose is dropped, and the others of its paragraph are kept."""
    kept = "This is the first sentence of the paragraph."
    assert docstring_prose(f"{kept} {sentence}") == [kept]


def test_lines_of_a_paragraph_are_joined_and_paragraphs_are_not():
    """Lines of a paragraph are joined; an empty line, or less indentation, ends a paragraph."""
    text = (
        "The first line of a paragraph\nand the second of it.\n\n    Note that this is indented.\nBut this is not it."
    )
    assert docstring_prose(text) == [
        "The first line of a paragraph and the second of it.",
        "Note that this is indented.",
        "But this is not it.",
    ]

"""NVIDIA LDDL's `preprocess_bert_pretrain`, run by its own code and with its own options on a current Python.

LDDL 0.1.0 pins packages that have no build for Python 3.11, and downloads a model; SUBSTITUTIONS in
peers/environments.py lists the replacements. Pairs, tokenization, shuffle, process cluster and Parquet are LDDL's and
Dask's own.
"""

import asyncio
import os
from collections.abc import Iterable
from typing import Any

# On Python 3.11 Dask's sampling of its workers' stacks fails and logs errors, so its first time is after the run.
os.environ["DASK_DISTRIBUTED__WORKER__PROFILE__INTERVAL"] = "1d"
os.environ["DASK_DISTRIBUTED__WORKER__PROFILE__CYCLE"] = "1d"

import blingfire
import nltk


def main() -> None:
    """Run LDDL and close its cluster, since otherwise the interpreter closes it at its end."""
    plain_wait = asyncio.wait

    async def wait(awaitables: Iterable[Any], **options: Any) -> Any:
        return await plain_wait([asyncio.ensure_future(awaitable) for awaitable in awaitables], **options)

    asyncio.wait = wait  # type: ignore[assignment]
    import dask.distributed

    options = lddl.attach_args().parse_args()
    dask.config.set(temporary_directory=options.sink)  # By default the working directory.
    lddl.main(options)
    dask.distributed.default_client().close()


def sentences(text: str) -> list[str]:
    """Return the result of nltk's function of this name, computed by blingfire."""
    return blingfire.text_to_sentences(text).split("\n")


# These lines are outside of `main`, since Dask's worker processes import this file, too.
nltk.download = lambda *_, **__: True
nltk.tokenize.sent_tokenize = sentences
import lddl.dask.bert.pretrain as lddl  # noqa: E402

if __name__ == "__main__":
    main()

"""NVIDIA LDDL's `preprocess_bert_pretrain` on a current Python: its own code, with the options that it has.

LDDL 0.1.0 pins what Python 3.11 has no build of, and fetches a model; SUBSTITUTIONS in peers/environments.py says what
stands there instead. Pairs, tokenization, shuffle, process cluster and Parquet are LDDL's and Dask's own.
"""

import asyncio
import os
from collections.abc import Iterable
from typing import Any

# Dask samples the stacks of its workers; on Python 3.11 that fails and logs, so it is put off.
os.environ["DASK_DISTRIBUTED__WORKER__PROFILE__INTERVAL"] = "1d"
os.environ["DASK_DISTRIBUTED__WORKER__PROFILE__CYCLE"] = "1d"

import blingfire
import nltk


def main() -> None:
    """Runs LDDL and closes its cluster, whose end would otherwise be part of the interpreter's."""
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
    """What nltk's function of this name would return, by blingfire."""
    return blingfire.text_to_sentences(text).split("\n")


# Outside `main`: Dask's worker processes import this file too.
nltk.download = lambda *_, **__: True
nltk.tokenize.sent_tokenize = sentences
import lddl.dask.bert.pretrain as lddl  # noqa: E402

if __name__ == "__main__":
    main()

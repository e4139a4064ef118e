"""Log files: every rank logs to its own file, RUN/logs/rank-NNNNN.log, and only rank 0 writes to the terminal.

The log also contains warnings and errors of libraries, and the stack traces of a process that crashes in C code.
"""

import faulthandler
import logging
import os
import socket
import sys
from pathlib import Path
from typing import TextIO

from pipeline.runtime import distributed
from pipeline.runtime.logger import LOG

_HEARD = (LOG.name, "preprocessing", "DeepSpeed", "torch", "py.warnings")


def open_log(run: Path) -> TextIO:
    """Open the log file of this rank for appending, add it to the loggers, and return it."""
    path = run / "logs" / f"rank-{distributed.rank():05d}.log"
    path.parent.mkdir(exist_ok=True)
    file = path.open("a", encoding="utf-8", buffering=1)
    handler = logging.StreamHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.captureWarnings(True)
    for name in _HEARD:
        logging.getLogger(name).addHandler(handler)
    if distributed.is_main():
        logging.getLogger("py.warnings").addHandler(logging.StreamHandler(sys.stderr))
    faulthandler.enable(file=file)
    LOG.info(
        f"rank {distributed.rank()} of {distributed.world_size()}, process {os.getpid()} on {socket.gethostname()}"
    )
    return file


def close_log(file: TextIO) -> None:
    """Remove `file` from the loggers, and close it."""
    faulthandler.disable()
    logging.captureWarnings(False)
    for name in _HEARD:
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            if isinstance(handler, logging.StreamHandler) and (handler.stream is file or name == "py.warnings"):
                logger.removeHandler(handler)
    file.close()

"""Every rank logs to its own file, RUN/logs/rank-NNNNN.log; only the main rank writes to the terminal.

The log also takes warnings and errors of the libraries, and the stacks of a process that crashes in C code.
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
    """Open this rank's log file for appending, direct all loggers to it, and return it."""
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
    """Detach the loggers from `file` and close it."""
    faulthandler.disable()
    logging.captureWarnings(False)
    for name in _HEARD:
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            if isinstance(handler, logging.StreamHandler) and (handler.stream is file or name == "py.warnings"):
                logger.removeHandler(handler)
    file.close()

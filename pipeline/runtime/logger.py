"""The logger of the pipeline. It imports no other module of the project, so that every module can use it."""

import logging

LOG = logging.getLogger("pipeline")
LOG.setLevel(logging.INFO)
LOG.propagate = False

"""The logger of the pipeline. Importing it loads no other module of the project, so that any module may log."""

import logging

LOG = logging.getLogger("pipeline")
LOG.setLevel(logging.INFO)
LOG.propagate = False

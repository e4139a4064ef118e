"""Each rank's log has the pipeline's messages and the libraries' warnings, of which the terminal shows the main rank's
warnings only.
"""

import logging
import warnings

from pipeline.runtime.logger import LOG
from pipeline.runtime.logs import close_log, open_log


def test_a_log_takes_ours_and_the_libraries_and_is_appended_to(tmp_path, capfd):
    """Two attempts log to the same file, the libraries' warnings included, and nothing is written after `close_log`."""
    for attempt in (1, 2):
        file = open_log(tmp_path)
        LOG.info(f"attempt {attempt}")
        logging.getLogger("DeepSpeed").warning("of DeepSpeed")
        warnings.warn("of Python", stacklevel=1)
        close_log(file)
        LOG.info("too late")
    text = (tmp_path / "logs" / "rank-00000.log").read_text()
    assert text.count("rank 0 of 1") == text.count("of DeepSpeed") == text.count("of Python") == 2
    assert text.index("attempt 1") < text.index("attempt 2")
    assert "too late" not in text
    out, err = capfd.readouterr()
    assert "attempt" not in out + err and err.count("of Python") == 2

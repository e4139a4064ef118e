"""Laws of preprocessing/workers.py."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from jobs import SECONDS_TO_END

from preprocessing.errors import DataError
from preprocessing.workers import SerialExecutor, WorkersConfig, run_job, run_tasks

ROOT = Path(__file__).parents[2]
PICTURES = {"matplotlib", "jinja2"}
TOKENIZERS = {"tokenizers", "sentencepiece"}
TEXT = {"py3langid", "rensa", "sentencex"}


def square(number):
    """Return the square of a number; later tasks finish first."""
    time.sleep(0.02 / (1 + number))
    return number * number


def die(number):
    """Kill the process of the task."""
    os._exit(9)


def ignore(number):
    """Ignore the end of a task."""


@pytest.mark.parametrize("config", [WorkersConfig("serial"), WorkersConfig("processes", 2)])
def test_results_come_in_the_order_of_the_tasks(config):
    """Serial and process executors return the same list in the order of the tasks, and report each task once."""
    done, results = [], []

    def job(executor):
        results.extend(run_tasks(executor, square, range(8), done.append))
        return 3

    assert run_job(config, job) == 3
    assert results == [number * number for number in range(8)]
    assert sorted(done) == list(range(8))


def test_a_serial_error_stops_before_the_next_task():
    """After a task that failed, nothing runs, and its own exception is raised."""
    seen = []

    def task(number):
        seen.append(number)
        if number == 2:
            raise DataError("two")

    with pytest.raises(DataError, match="two"):
        run_tasks(SerialExecutor(), task, range(6), ignore)
    assert seen == [0, 1, 2]


def test_a_parallel_error_cancels_what_has_not_started():
    """The first error is raised and the waiting tasks never run: two workers begin three tasks at most."""
    seen, over = [], threading.Event()

    def task(number):
        seen.append(number)
        if number == 0:
            raise DataError("zero")
        over.wait(SECONDS_TO_END)

    with ThreadPoolExecutor(2) as executor:
        with pytest.raises(DataError, match="zero"):
            run_tasks(executor, task, range(100), ignore)
        over.set()
    assert set(seen) <= {0, 1, 2}


def test_a_dead_worker_is_an_error_that_says_to_rerun():
    """A killed worker is an error that advises to run again, without a hang."""

    def job(executor):
        with pytest.raises(DataError, match=r"a worker process was killed.* run the same command again to resume"):
            run_tasks(executor, die, range(3), ignore)
        return 0

    run_job(WorkersConfig("processes", 1), job)


def test_a_negative_number_of_workers_is_refused():
    """A negative number of workers is an error with field, value and rule."""
    with pytest.raises(ValueError, match=r"workers = -1: must be 0 .* or more"):
        WorkersConfig("processes", -1)


@pytest.mark.parametrize(
    ("module", "needless"),
    [
        ("stages.extract", TOKENIZERS | PICTURES),
        ("stages.build", TEXT | PICTURES),
        ("inspect.counting", TOKENIZERS | TEXT | PICTURES),
    ],
)
def test_a_worker_loads_what_its_own_stage_needs(module, needless):
    """A worker imports the command line, as every process of the pool does, and then only the module of
    its first task.
    """
    program = f"import sys, preprocessing.__main__, preprocessing.{module}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(result.stdout.split())
    assert "pyarrow" in loaded and not loaded & needless

"""Checkpoints that are written in the background while training continues.

Weights and moments change in updates only. Each rank therefore copies them during the next step's forward and backward
pass; only the update waits for the copy (`settle`), and rarely has to. Each rank then writes its own file in a thread.
When the vote of a step says that all ranks have written, rank 0 publishes the directory under its name, again in a
thread.
"""

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.checkpoint import CheckpointConfig
from pipeline.checkpoints.record import name_of
from pipeline.optim.shards import Shard
from pipeline.runlog.events import Events
from pipeline.runtime import distributed, faults


class Saver:
    """Writes one checkpoint at a time, in the background."""

    def __init__(
        self,
        run: Path,
        shards: list[Shard],
        tokenizer: Path,
        config: CheckpointConfig,
        about: Callable[[], dict[str, Any]],
        events: Events,
    ) -> None:
        """Args:
        run: the run's directory, shared by all ranks.
        shards: this rank's weights and moments.
        tokenizer: directory that is copied along.
        config: which checkpoints stay.
        about: returns the values of state.json beside those that `begin` gets.
        events: is told of each checkpoint.
        """
        self._run, self._shards, self._tokenizer, self._config = run, shards, tokenizer, config
        self._about, self._events = about, events
        self._final: Path | None = None  # what is being written
        self._state: dict[str, Any] = {}
        self._entry: dict[str, Any] = {}
        self._begun = self.stall_seconds = 0.0
        self._write, self._publish = Background(), Background()
        self._copied = threading.Event()
        self._copies = Copies(shards)

    def begin(self, state: dict[str, Any]) -> None:
        """Start to write RUN/checkpoints/step-NNNNNNNN, when the one before is published; on all ranks together.

        Args:
            state: plain values (JSON), equal on all ranks, with `step`.
        """
        begin = time.monotonic()
        self.finish()
        self._begun = time.monotonic()
        self._state = self._about() | state | checkpoint.tensor_table(self._shards)
        self._final = self._run / "checkpoints" / name_of(state["step"])
        faults.reach("checkpoint begun")
        self._copied.clear()
        self._copies.start()
        self._write.start(self._write_fragments)
        self.stall_seconds = time.monotonic() - begin

    def settle(self) -> None:
        """Wait until weights and moments may be changed; call before each update."""
        if self._final is not None and not self._copied.is_set():
            begin = time.monotonic()
            self._copies.wait_on_device()
            if not self._copies.on_device:
                self._copied.wait()
            self.stall_seconds += time.monotonic() - begin

    @property
    def writing(self) -> bool:
        """Whether this rank still writes its file; to be voted on."""
        return self._write.running

    @property
    def error(self) -> Exception | None:
        """The error of a background thread, if there is one."""
        return self._write.error or self._publish.error

    def publish(self) -> None:
        """Publish what all ranks have written; on all ranks together, when a vote says that none is `writing`.

        Raises:
            OSError: this rank could not write (disk full, read-only); PeerError on the others. Nothing is published.
        """
        if self._final is None:
            return
        begin = time.monotonic()
        self._write.join()
        try:
            with distributed.together(f"write {self._final}"):
                if self._write.error is not None:
                    raise self._write.error
        except Exception:  # on all ranks: what some of them wrote is of no use
            shutil.rmtree(checkpoint.temporary_of(self._final), ignore_errors=True)
            self._final = None
            raise
        entries = {name: entry for part in distributed.gather_objects(self._entry) for name, entry in part.items()}
        final, self._final = self._final, None
        self.stall_seconds += time.monotonic() - begin
        if distributed.is_main():
            stall, state, begun = self.stall_seconds, self._state, self._begun
            self._publish.start(lambda: self._publish_directory(final, state, entries, begun, stall))

    def finish(self) -> None:
        """Wait until everything begun is published or has failed; on all ranks together. Raises as `publish`."""
        self.publish()
        with distributed.together("publish the checkpoint"):
            self._publish.join()
            if self._publish.error is not None:
                raise self._publish.error

    def _write_fragments(self) -> None:
        assert self._final is not None, "begin sets it"
        tensors = self._copies.finish()
        self._copied.set()
        faults.reach("tensors copied")
        path = checkpoint.temporary_of(self._final) / checkpoint.rank_file(distributed.rank())
        path.parent.mkdir(parents=True, exist_ok=True)
        self._entry = {path.name: checkpoint.write_tensors(path, tensors)}
        faults.reach("tensors written")

    def _publish_directory(
        self, final: Path, state: dict[str, Any], entries: dict[str, Any], begun: float, stall_seconds: float
    ) -> None:
        temporary = checkpoint.temporary_of(final)
        try:
            checkpoint.publish(temporary, final, state, entries, self._tokenizer)
        except Exception:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        self._events.write(
            "checkpoint",
            step=state["step"],
            seconds=round(time.monotonic() - begun, 3),
            stall_seconds=round(stall_seconds, 4),
            bytes=sum(entry["bytes"] for entry in entries.values()),
        )
        for old in checkpoint.superfluous(self._run, self._config):
            checkpoint.remove(old)
        faults.reach("checkpoints pruned")


class Background:
    """A thread that runs one function at a time and keeps its error."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self._thread: threading.Thread | None = None

    def start(self, function: Callable[[], None]) -> None:
        """Run a function, after the one before has ended."""

        def run() -> None:
            try:
                function()
            except Exception as error:
                self.error = error

        self.join()
        self.error = None
        self._thread = threading.Thread(target=run, name=function.__name__)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether the function still runs."""
        return self._thread is not None and self._thread.is_alive()

    def join(self) -> None:
        """Wait until the function has ended."""
        if self._thread is not None:
            self._thread.join()


class Copies:
    """Copies of weights and moments in host memory; nothing may change them between `start` and `finish`."""

    def __init__(self, shards: list[Shard]) -> None:
        self._shards = shards
        self.on_device = bool(shards) and shards[0].param.device.type == "cuda"
        """Whether the device makes the copies, asynchronously."""
        self._pinned: dict[str, Tensor] = {}
        self._stream: Any = torch.cuda.Stream() if self.on_device else None
        self._done: Any = None

    def start(self) -> None:
        """Start to copy; on a CPU, `finish` copies in the thread that calls it."""
        if not self.on_device:
            return
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            for key, values in checkpoint.fragments(self._shards):
                if key not in self._pinned:  # taken once: page-locking memory takes longer than the copy
                    self._pinned[key] = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
                self._pinned[key].copy_(values, non_blocking=True)
            self._done = self._stream.record_event()

    def wait_on_device(self) -> None:
        """Let the device's next work wait for the copies, without blocking this thread."""
        if self._done is not None:
            torch.cuda.current_stream().wait_event(self._done)

    def finish(self) -> dict[str, Tensor]:
        """Wait for the copies and return them: `PART|NAME|OFFSET` -> values."""
        if self.on_device:
            self._done.synchronize()
            return self._pinned
        return {key: values.clone() for key, values in checkpoint.fragments(self._shards)}

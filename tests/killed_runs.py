"""Runs of pre-training that end between two steps as if they were killed."""

from contextlib import suppress


class KilledError(Exception):
    """Raised in place of a SIGKILL between two steps."""


def runs(jobs):
    """Call pretrain once for each (arguments, step after which the run is killed or None)."""
    from pipeline.pretrain import pretrain
    from pipeline.runtime import distributed
    from pipeline.training.trainer import Trainer

    train_step = Trainer.train_step
    for arguments, kill_after in jobs:

        def dies(self, last=kill_after):
            outcome = train_step(self)
            if self.state.step == last:
                self.saver.finish()
                raise KilledError
            return outcome

        Trainer.train_step = dies if kill_after else train_step
        with suppress(KilledError):
            pretrain(arguments)
    distributed.shutdown()

"""Muon's update of matrices that are distributed over shards.

Momentum and step are elementwise and are computed on fragments. In between one all-to-all sends the fragments of the
directions to the owners of the matrices (`pipeline.optim.exchange`), which orthogonalise them, and a second one sends
the updates back."""

from collections.abc import Sequence

from pipeline.optim import muon
from pipeline.optim.config import OptimizerConfig
from pipeline.optim.exchange import Exchange, Held, Ranks
from pipeline.optim.shards import Fragment, Shard, Stacks, unstacked


class MatrixSet:
    """The matrices of shards that one call of the optimizer updates together."""

    def __init__(self, shards: Sequence[Shard], stacks: Stacks) -> None:
        """Args:
            shards: several shards that are all replicated, or a single one.
            stacks: number of matrices that each parameter stacks.

        Raises:
            ValueError: a tensor is not a matrix.
        """
        self.shards = shards
        self.exchange: Exchange
        self._shapes: list[tuple[int, ...]] = []
        self._fragments: list[tuple[Shard, Fragment]] = []
        self.table: list[Held] = []
        """The fragments that this rank holds."""
        for shard in shards:
            cut, first = unstacked(shard, stacks), len(self._shapes)
            for name, shape in zip(cut.names, cut.shapes, strict=True):
                if len(shape) != 2:
                    raise ValueError(
                        f"{name} has shape {shape}: Muon updates matrices only; exclude it in Parameters.is_matrix"
                    )
            self._shapes += cut.shapes
            self._fragments += [(shard, fragment) for fragment in cut.fragments]
            self.table += [Held(first + tensor, offset, stop - start) for tensor, start, stop, offset in cut.fragments]

    def bind(self, tables: Sequence[Sequence[Held]], ranks: Ranks) -> None:
        """Choose the owners of the matrices.

        Args:
            tables: `table` of each rank.
            ranks: this rank and the others.

        Raises:
            ValueError: the fragments of all ranks are not whole matrices.
        """
        device, replicated = self.shards[0].param.device, self.shards[0].replicated
        work = [muon.work(shape) for shape in self._shapes]
        self.exchange = Exchange(self._shapes, work, tables, ranks, device=device, replicated=replicated)

    def update(self, config: OptimizerConfig, lr: float, grad_scale: float = 1.0) -> None:
        """Update weights and momentum, and overwrite the gradients; a collective operation.

        Args:
            config: hyper-parameters.
            lr: learning rate of the step.
            grad_scale: factor of the gradients, by which they are clipped.
        """
        for shard in self.shards:
            for run in shard.runs:
                if grad_scale != 1:
                    shard.gradient[run].mul_(grad_scale)
                muon.nesterov_(shard.gradient[run], shard.state["exp_avg"][run], config.momentum)
            shard.state["step"] += 1
        directions = self.exchange.collect([shard.gradient[f.start : f.stop] for shard, f in self._fragments])
        owned = {matrix: muon.update(directions.pop(matrix)) for matrix in list(directions)}  # pop frees matrices
        updates = self.exchange.give_back(owned)
        for (shard, (_, start, stop, _)), update in zip(self._fragments, updates, strict=True):
            param = shard.flat[start:stop]
            muon.step_(param, update, lr=lr, weight_decay=config.weight_decay if shard.decayed else 0.0)
            if shard.model is not None:
                shard.model[start:stop].copy_(param)


def matrix_sets(shards: Sequence[Shard], stacks: Stacks, ranks: Ranks) -> list[MatrixSet]:
    """The sets of matrices that Muon updates: one for all replicated shards, and one for each other shard.

    This is a collective operation: if there are such shards, the ranks gather the descriptions of their fragments.

    Raises:
        ValueError: a tensor is not a matrix, or the fragments of all ranks are not whole matrices.
    """
    ours = [shard for shard in shards if shard.muon]
    replicated = [shard for shard in ours if shard.replicated]
    sets = [MatrixSet(replicated, stacks)] if replicated else []
    sets += [MatrixSet([shard], stacks) for shard in ours if not shard.replicated]
    if sets:
        gathered = ranks.gather([made.table for made in sets])
        for number, made in enumerate(sets):
            made.bind([tables[number] for tables in gathered], ranks)
    return sets

"""Batches of known sizes for measurements."""

from pipeline.model.probe import uniform_batch


def test_sizes_are_those_asked_for():
    """A batch of three samples of eight tokens, two of them masked, has these sizes."""
    batch = uniform_batch(3, 8, 2)
    assert batch.counts == batch.totals == {"samples": 3, "tokens": 24, "masked": 6}
    assert batch.input_ids.shape == batch.segment_ids.shape == batch.position_ids.shape == (24,)
    assert batch.cu_seqlens.tolist() == [0, 8, 16, 24] and batch.max_seqlen == 8
    sizes = {name: len(values) for name, values in batch.targets.items()}
    assert sizes == {"positions": 6, "labels": 6, "uniform": 6, "pair": 3}

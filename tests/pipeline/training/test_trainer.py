"""Laws of pipeline/training/trainer.py, with an engine that records what it gets and a clock that it advances."""

from dataclasses import asdict
from types import SimpleNamespace

import pytest
from samples import make_samples
from training_loop import ACCUMULATION, SECONDS_PER_FORWARD, SEED, STEPS, FakeEngine, Loop

from pipeline.runtime.signals import InterruptedRunError
from pipeline.training import trainer as module
from pipeline.training.trainer import dropout_seed


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return make_samples(tmp_path_factory.mktemp("samples") / "samples", train=64, heldout=8)


@pytest.fixture
def clock(monkeypatch):
    """A clock in seconds for the trainer, which only the fake engine advances."""
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = clock.perf_counter = lambda: clock.now
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_a_step_consumes_its_micro_batches_and_seeds_their_dropout(tmp_path, samples, clock):
    """Step s computes micro-batches (s - 1) A to s A - 1, seeded by (seed, step, group)."""
    loop = Loop(tmp_path / "run", samples, clock).run()
    expected = []
    for item in range(STEPS * ACCUMULATION):
        step, batch = item // ACCUMULATION + 1, loop.batches[item]
        expected.append((step, batch.group, batch.sample_ids.tolist(), dropout_seed(SEED, step, batch.group)))
    assert loop.engine.forwards == expected
    assert len({seed for *_, seed in expected}) == len(expected), "no two micro-batches share their dropout"
    assert loop.engine.rates == [step / 10 for step in range(1, STEPS + 1) for _ in range(ACCUMULATION)]
    assert (loop.state.step, loop.state.consumed_samples) == (STEPS, STEPS * 12)


def test_log_lines_average_over_their_interval(tmp_path, samples, clock):
    """With log_every = 2, five steps give lines at 2, 4 and 5 with means over masked tokens and rates per second."""
    loop = Loop(tmp_path / "run", samples, clock).run()
    lines = loop.lines()
    assert [line["step"] for line in lines] == [2, 4, 5]
    for line, steps in zip(lines, [(1, 2), (3, 4), (5,)], strict=True):
        loss = sum(step * loop.count("masked", step) for step in steps) / loop.count("masked", *steps)
        assert line["loss"] == line["mlm_loss"] == pytest.approx(loss)
        assert line["mlm_accuracy"] == pytest.approx(len(steps) * ACCUMULATION / loop.count("masked", *steps))
        seconds = len(steps) * ACCUMULATION * SECONDS_PER_FORWARD
        assert line["tokens_per_second"] == pytest.approx(loop.count("tokens", *steps) / seconds)
        assert line["learning_rate"] == line["step"] / 10 and line["consumed_samples"] == 12 * line["step"]


def test_a_skipped_step_has_no_part_in_the_averages(tmp_path, samples, clock):
    """After a skipped step 2, the line of steps 1 and 2 has the loss of step 1 alone, and the samples count as used."""
    loop = Loop(tmp_path / "run", samples, clock, engine=FakeEngine(clock, not_finite=(2, 4, 5))).run()
    first, second, third = loop.lines()
    assert first["loss"] == 1.0 and second["loss"] == 3.0 and third["loss"] is None
    assert [line["skipped_steps"] for line in loop.lines()] == [1, 2, 3]
    assert [line["consumed_samples"] for line in loop.lines()] == [24, 48, 60]
    assert (loop.state.skipped_steps, loop.state.skipped_in_a_row) == (3, 2)
    assert (loop.folder / "skipped" / "step-00000002.json").exists()


def test_an_evaluation_changes_no_training_state(tmp_path, samples, clock):
    """Training computes the same with and without evaluations, whose seconds are not training time."""
    plain = Loop(tmp_path / "plain", samples, clock).run()
    evaluated = Loop(tmp_path / "evaluated", samples, clock, evaluate_every=1).run()
    assert [line["step"] for line in evaluated.lines("heldout")] == [0, 1, 2, 3, 4, 5]
    assert len(evaluated.engine.evaluated) == 6 * 2 and evaluated.engine.training
    assert evaluated.engine.forwards == plain.engine.forwards
    assert evaluated.lines() == plain.lines()
    assert asdict(evaluated.state) == asdict(plain.state) | {"evaluated_step": STEPS}


def test_an_order_gap_changes_no_training_state(tmp_path, samples, clock):
    """The order gap adds its passes and one figure to an evaluation; other figures and training are as without it."""
    plain = Loop(tmp_path / "plain", samples, clock, evaluate_every=2).run()
    loop = Loop(tmp_path / "gap", samples, clock, evaluate_every=2, order_gap=(4, 8)).run()
    assert [len(rows) for rows in loop.engine.evaluated[:5]] == [4, 4, 4, 4, 4]
    assert [line.pop("mlm_order_gap") for line in loop.lines("heldout") if line["step"] == 0] == [0.0]
    without = [{key: line[key] for key in line if key != "mlm_order_gap"} for line in loop.lines("heldout")]
    assert without == plain.lines("heldout")
    assert loop.engine.forwards == plain.engine.forwards and loop.lines() == plain.lines()
    assert asdict(loop.state) == asdict(plain.state)


def test_an_evaluation_before_the_first_step_counts_as_in_that_step(tmp_path, samples, clock):
    """An evaluation before step 1 uses the schedules of step 1, since they are functions of steps from 1 on."""
    steps = []

    def count(batch, step):
        steps.append(step)
        return {**batch.counts, "flops": 0.0, "nominal_flops": 0.0}

    Loop(tmp_path / "run", samples, clock, evaluate_every=4, count=count).run()
    assert steps[:2] == [1, 1] and sorted(set(steps)) == [1, 2, 3, 4, 5]


def test_an_evaluation_that_is_interrupted_in_its_last_pass_is_repeated(tmp_path, samples, clock):
    """The figures of an evaluation that is interrupted in its last pass are not written, and the evaluation is
    repeated.
    """
    loop = Loop(tmp_path / "run", samples, clock, evaluate_every=1, order_gap=(4, 8))
    forward = loop.engine.forward

    def receiving_a_signal(batch):
        loop.signals.received = 15 if len(loop.engine.evaluated) == 3 else 0
        return forward(batch)

    loop.engine.forward = receiving_a_signal
    with pytest.raises(InterruptedRunError, match="SIGTERM"):
        loop.run()
    assert loop.lines("heldout") == [] and loop.state.evaluated_step == -1


def test_a_stop_request_saves_after_the_current_step(tmp_path, samples, clock):
    """A signal in step 3 lets the step end, be saved and be written to disk before the run ends."""
    loop = Loop(tmp_path / "run", samples, clock)
    forward = loop.engine.forward

    def receiving_a_signal(batch):
        loop.signals.received = 15 if loop.engine.number == 3 else 0
        return forward(batch)

    loop.engine.forward = receiving_a_signal
    with pytest.raises(InterruptedRunError, match="SIGTERM"):
        loop.run()
    assert [(state["step"], state["consumed_samples"]) for state in loop.saver.begun] == [(3, 36)]
    assert len(loop.engine.forwards) == 3 * ACCUMULATION and loop.saver.finished == 1
    interval = loop.saver.begun[0]["interval"]
    assert interval["mlm_loss"] == 3 * loop.count("masked", 3), "step 3 belongs to the line of step 4"


def test_a_checkpoint_changes_no_training_state(tmp_path, samples, clock):
    """With a checkpoint after every step, also within an interval, the log lines are the same."""
    plain = Loop(tmp_path / "plain", samples, clock).run()
    saved = Loop(tmp_path / "saved", samples, clock, save_every=1).run()
    assert [state["step"] for state in saved.saver.begun] == [1, 2, 3, 4, 5]
    assert saved.lines() == plain.lines()


def test_a_resumed_interval_continues_where_it_was_saved(tmp_path, samples, clock):
    """The sums and seconds of a checkpoint's open interval are part of the next log line."""
    plain = Loop(tmp_path / "plain", samples, clock).run()
    resumed = Loop(tmp_path / "resumed", samples, clock)
    for _ in range(ACCUMULATION):
        next(resumed.trainer.batches)
    resumed.engine.rates = [0.1] * ACCUMULATION
    resumed.state.step, resumed.state.consumed_samples = 1, 12
    counts = {name: resumed.count(name, 1) for name in ("masked", "samples", "tokens")}
    sums = {"mlm_loss": counts["masked"], "mlm_correct": 3, "flops": 0, "nominal_flops": 0}
    resumed.state.interval = counts | sums | {"seconds": ACCUMULATION * SECONDS_PER_FORWARD, "waited": 0.0}
    assert resumed.run().lines() == plain.lines()


def test_an_error_of_the_loader_voids_its_step(tmp_path, samples, clock):
    """After an error of the loader, the step's collectives run on the last batch; then the error is raised and the step
    counts nothing.
    """

    def damaged(items):
        for number, item in enumerate(items):
            if number == 2 * ACCUMULATION + 1:
                raise ValueError("a shard is damaged")
            yield item

    loop = Loop(tmp_path / "run", samples, clock, batches=damaged)
    with pytest.raises(ValueError, match="a shard is damaged"):
        loop.run()
    groups = [group for step, group, *_ in loop.engine.forwards if step == 3]
    assert groups == [loop.batches[2 * ACCUMULATION].group] * ACCUMULATION
    assert [line["step"] for line in loop.lines()] == [2] and loop.saver.begun == []


def test_an_error_of_the_first_batch_is_raised_at_once(tmp_path, samples, clock):
    """An error of the first batch is raised at once, since no earlier batch can replace it."""

    def damaged(items):
        raise ValueError("a shard is damaged")
        yield

    loop = Loop(tmp_path / "run", samples, clock, batches=damaged)
    with pytest.raises(ValueError, match="a shard is damaged"):
        loop.run()
    assert loop.engine.forwards == []

"""The model card states the figures of a checkpoint."""

from pipeline.conversion.card import model_card

STATE = {
    "family": "bert",
    "model": {"hidden_size": 32},
    "vocab_size": 30522,
    "step": 1000,
    "consumed_samples": 256000,
    "metrics": {"heldout": {"mlm_loss": 1.25, "mlm_accuracy": 0.5}},
}


def test_numbers_of_the_checkpoint():
    """The card has the steps, samples, vocabulary and held-out figures of the checkpoint."""
    card = model_card("mine", STATE)
    assert "vocabulary of 30,522 words" in card and "1,000 steps on 256,000 samples." in card
    assert "| mlm loss | 1.2500 |\n| mlm accuracy | 0.5000 |\n" in card and "nsp" not in card


def test_precision_and_optimizer():
    """Precision and optimizer are in brackets if the checkpoint states them."""
    state = STATE | {"precision": "bf16", "recipe": {"optimizer": {"name": "lamb"}}}
    assert "256,000 samples (bf16, LAMB)." in model_card("mine", state)


def test_without_an_evaluation():
    """Without an evaluation, the card's table says that there is none."""
    assert "| (not evaluated) | |" in model_card("mine", STATE | {"metrics": {}})

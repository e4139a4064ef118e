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
    """Steps, samples, vocabulary and the held-out figures that there are."""
    card = model_card("mine", STATE)
    assert "vocabulary of 30,522 words" in card and "1,000 steps on 256,000 samples." in card
    assert "| mlm loss | 1.2500 |\n| mlm accuracy | 0.5000 |\n" in card and "nsp" not in card


def test_precision_and_optimizer():
    """They follow in brackets where the checkpoint states them."""
    state = STATE | {"precision": "bf16", "recipe": {"optimizer": {"name": "lamb"}}}
    assert "256,000 samples (bf16, LAMB)." in model_card("mine", state)


def test_without_an_evaluation():
    """The table says so."""
    assert "| (not evaluated) | |" in model_card("mine", STATE | {"metrics": {}})

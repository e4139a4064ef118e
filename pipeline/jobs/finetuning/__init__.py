"""Fine-tuning of a pre-trained model: its recipe, its training, its result."""

"""What a fine-tuned model predicts, by the kind of its head."""

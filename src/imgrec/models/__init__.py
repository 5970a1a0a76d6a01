"""Networks: map pixels in [0, 1] to logits, built from the model axis of the configuration."""

"""Training: samples, losses, the training loop on DeepSpeed, and checkpoints."""

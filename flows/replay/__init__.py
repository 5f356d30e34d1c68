"""What was made, made again from what was recorded: the real pipeline, with recorded calls in place of models."""

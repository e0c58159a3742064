"""The code that the steps share, grouped by task: data, prompts, training, decoding, evaluation and reporting."""

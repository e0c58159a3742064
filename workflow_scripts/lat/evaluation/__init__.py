"""Evaluation of outputs: translation metrics, off-target scores, significance tests and an LLM judge."""

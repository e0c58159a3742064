"""Prompts: the template, instructions, and conflicting instructions."""

"""Timings and memory of what the project optimises, beside the plain version; never part of the tests."""

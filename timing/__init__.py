"""Timings and peak memory of the optimised code, compared with a plain version; never part of the tests."""

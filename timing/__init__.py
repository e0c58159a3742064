"""Timings and peak memory of the optimised code, compared with a plain version; the times are not tested."""

"""Rows that are broken: what can be mended without a guess, and a list of what was done."""

"""Rows of every format in and out: one record to one example and back."""

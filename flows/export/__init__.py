"""Kept samples of a version as files to train on: the same bytes each time, and never half of it that looks whole."""

"""Composes models, storage and dedup into what a user runs: SEIR, the flows, the command line."""

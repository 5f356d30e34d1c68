"""Recorded requests, asked again: the same models, the same company, and how far the answers are what they were."""

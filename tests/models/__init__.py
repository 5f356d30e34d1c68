"""Tests of what models can be asked."""

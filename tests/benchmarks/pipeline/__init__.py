"""Whole builds against a server that only waits, beside the best that could be done, and beside other tools."""

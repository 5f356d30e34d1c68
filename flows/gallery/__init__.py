"""The web gallery: pages to look at a lake with, read-only but for review."""

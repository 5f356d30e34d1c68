"""The forms of an export: each writes the samples of a shard as files of its own, the same bytes each time."""

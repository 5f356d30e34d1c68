"""What one sees of a run in the Prefect UI."""

"""What lies near the thresholds of duplicates: measured, drawn, and judged by pairs that people have labelled."""

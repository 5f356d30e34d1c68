"""What lies near the thresholds, asked of a person; and what persons said, which every rule goes by."""

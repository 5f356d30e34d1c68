"""What costs how much, measured; run by hand, not by pytest."""

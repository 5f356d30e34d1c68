"""The benchmark: 500 questions that ship, whoever answers them, what judges say of the answers, and who is better."""

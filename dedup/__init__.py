"""What counts as the same, decided on vectors, hashes and ids. Knows nothing of models, files or Prefect."""

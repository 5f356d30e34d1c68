"""What can be asked of a model: a chat, a drawing, an embedding. Knows nothing of samples, lakes or Prefect."""

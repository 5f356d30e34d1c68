"""SEIR, self-evaluation with iterative refinement (arXiv 2506.09427): plain async Python that knows no Prefect."""

"""interlake on a Prefect server: deployments, a stack on one machine, containers. Knows nothing of samples."""

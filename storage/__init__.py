"""The lake: row types, packages, versions, and what LanceDB and DuckDB show of them. Knows nothing of models."""

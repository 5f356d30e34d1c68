"""Making old slots again by another recipe, with the recorded answers where the request is the same."""

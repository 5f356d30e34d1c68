"""The suite of `make test-reproduction`: replay, regenerate, rerun, the hash chain, and the walk in the README."""

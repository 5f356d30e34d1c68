"""The same chain of calls on other tools, each in an environment of its own, against the same server."""

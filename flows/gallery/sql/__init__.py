"""SQL for everyone who sees the gallery: fenced in a process of its own, with limits. Knows nothing of HTTP."""

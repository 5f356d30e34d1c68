"""Topics and question templates: the catalogue, files of users' own topics, and which topics come next."""

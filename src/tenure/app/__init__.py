"""Where the stages are wired together: a project, its verbs, and the proposal of a first configuration."""

"""The verbs and what is kept."""

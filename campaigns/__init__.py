"""Who, what and when: people, campaigns, decisions, measuring. Pure."""

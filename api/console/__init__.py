"""The console: pages for people; today the report with its map picture."""

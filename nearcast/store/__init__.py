"""What is kept: one SQLAlchemy Core store over SQLite and PostgreSQL."""

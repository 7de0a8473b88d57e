"""One file per use case: load, call the pure floors, save."""

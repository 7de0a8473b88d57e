"""Which transition becomes which message, and why not."""

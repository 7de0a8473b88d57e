"""The ways in of pings: bytes to columns, and receipts to bytes; no framework, no database."""

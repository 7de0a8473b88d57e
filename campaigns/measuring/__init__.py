"""What came of it: attribution and reports."""

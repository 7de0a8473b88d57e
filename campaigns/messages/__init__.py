"""What a message says and where its link leads."""

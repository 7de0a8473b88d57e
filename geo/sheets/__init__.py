"""Tables from hostile bytes: rows with true row numbers, headings, problems, reviewed changes."""

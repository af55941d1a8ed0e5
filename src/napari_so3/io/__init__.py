"""Files to plain arrays and tables, and back."""

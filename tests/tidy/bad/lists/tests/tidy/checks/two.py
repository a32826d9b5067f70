"""Not listed."""

"""Listed, no sample."""

// Listed, with a seed.

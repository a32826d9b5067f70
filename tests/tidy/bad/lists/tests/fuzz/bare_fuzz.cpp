// Listed, no seed.

"""The experiments behind the claims: what is run, what is measured of it, and where that is kept."""

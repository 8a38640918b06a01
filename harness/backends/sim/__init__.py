"""The `sim` backend: the same nodes on a virtual clock, bit-exact (architecture sections 3 and 9)."""

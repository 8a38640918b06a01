"""What wallets ask for: pure, seeded generators of operations. One workload, one file."""

"""What hurts the system: network, process and disk faults, and Byzantine behaviours."""

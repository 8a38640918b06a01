"""What drives a run: scenarios, backends, workloads, nemesis, the command line."""

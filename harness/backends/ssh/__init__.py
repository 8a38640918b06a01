"""Backend `ssh`: nodes are processes on other hosts, which undo every fault themselves when they lose us."""

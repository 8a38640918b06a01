"""What CometBFT (Tendermint) puts into headers, commits and evidence, computed again from its specification."""

"""CometBFT with its key-value store, as released."""

from harness.targets.cometbft.target import CometBFT as CometBFT

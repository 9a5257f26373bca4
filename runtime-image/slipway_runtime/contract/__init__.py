"""What the operator, the activator and this runtime agree on; generated from runtime-image/contract."""

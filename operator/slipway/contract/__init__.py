"""What the operator, the activator and the runtime in a model's pod agree on; generated from runtime-image/contract."""

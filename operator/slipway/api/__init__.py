"""What people write and read: the types of `slipway.dev/v1alpha1`, its names and reasons. Knows nothing else here."""

"""The API `slipway.dev/v1alpha1`: its types, names and reasons. Imports nothing else of Slipway."""

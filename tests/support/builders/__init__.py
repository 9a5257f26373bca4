"""Builders of objects, specs and model files, each as small as it can be. They need no cluster and start nothing."""

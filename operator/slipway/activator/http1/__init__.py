"""HTTP/1.1 as the activator speaks it, to clients and to replicas: strict in what it takes and in what it passes on."""

"""Pages of this repository, read and run: runbooks and documents whose commands and output a test compares with a
cluster."""

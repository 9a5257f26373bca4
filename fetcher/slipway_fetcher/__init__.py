"""Brings the files of a model from where they are stored into a folder. The README next to it has the contract."""

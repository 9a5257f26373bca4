"""The compile cache: what an engine compiles, kept in a store that outlives the pod.

A store is a folder with one entry per key. An entry is immutable: a manifest, and one archive with all files. No code
runs from the store: a start unpacks its entry into the pod's own scratch folder, where the engine reads and writes, and
publishes what is new as another archive. So any number of pods can read and fill a store at the same time.
"""

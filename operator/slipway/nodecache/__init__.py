"""The node plugin: gives each pod that asks for it a folder of its node, which only pods of its namespace share.

A CSI driver for ephemeral inline volumes (`models.slipway.dev`), one process on each node. Fetchers in the pods put
models there; the plugin itself reads none of them. It counts their bytes, and removes those that no pod uses.
"""

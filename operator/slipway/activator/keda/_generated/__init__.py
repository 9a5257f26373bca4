"""Code that protoc writes from externalscaler.proto; made by operator/generate_protos.py, never edited by hand."""

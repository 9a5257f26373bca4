"""Code that protoc writes from the definitions of CSI and of the kubelet; made by operator/generate_protos.py."""

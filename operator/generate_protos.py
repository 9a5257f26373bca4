"""Writes the packages `_generated` from the definitions next to them: KEDA's and our own, and those of CSI drivers."""

import sys
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).parent
DEFINITIONS = {
    "slipway/activator/keda": ("externalscaler.proto", "peers.proto"),
    "slipway/nodecache": ("csi.proto", "pluginregistration.proto"),
}


def plugin(name: str) -> str:
    """A protoc plugin from the environment that runs this script, on whatever PATH."""
    return f"--plugin={name}={Path(sys.executable).parent / name}"


def generate(folder: str, protos: tuple[str, ...]) -> int:
    package = f"{folder}/_generated"
    return protoc.main(
        [
            "protoc",
            # The definitions are shown to protoc at the place of their Python package: the generated imports then are
            # `from slipway.activator.keda._generated import …`, and need no editing afterwards.
            f"--proto_path={package}={HERE / folder}",
            f"--proto_path={Path(protoc.__file__).parent / '_proto'}",  # protobuf's own messages
            plugin("protoc-gen-mypy"),
            plugin("protoc-gen-mypy_grpc"),
            *(f"--{output}_out={HERE}" for output in ("python", "grpc_python")),
            f"--mypy_out=quiet:{HERE}",
            f"--mypy_grpc_out=quiet,only_async:{HERE}",
            *(f"{package}/{proto}" for proto in protos),
        ]
    )


if __name__ == "__main__":
    sys.exit(max(generate(folder, protos) for folder, protos in DEFINITIONS.items()))

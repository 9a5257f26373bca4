"""AMD devices, as the kernel's driver shows them in files."""

from __future__ import annotations

from pathlib import Path

from slipway_runtime.preflight.host import Device

KFD, CARDS = Path("/dev/kfd"), Path("/sys/class/drm")
NO_DRIVER = "/dev/kfd is missing: the container has no AMD GPU, or the node has no amdgpu driver"
NO_ACCESS = "/dev/kfd can't be opened by this user: it isn't in the group that owns the file"


def read_trouble(kfd: Path = KFD) -> str:
    if not kfd.exists():
        return NO_DRIVER
    try:
        kfd.open("rb").close()
    except OSError:
        return NO_ACCESS
    return ""


def read_devices(cards: Path = CARDS, nodes: Path = Path("/dev/dri")) -> tuple[Device, ...]:
    """Returns the cards whose device nodes are in the container."""
    found: list[Device] = []
    for render in sorted(cards.glob("renderD*")):
        total = _number(render / "device/mem_info_vram_total")
        if total and (nodes / render.name).exists():
            used = _number(render / "device/mem_info_vram_used") or 0
            name = _text(render / "device/product_name") or "AMD GPU"
            faults = tuple(_faults(render / "device/ras"))
            found.append(Device(index=len(found), name=name, memory=total, free_memory=total - used, faults=faults))
    return tuple(found)


def _faults(ras: Path) -> list[str]:
    """Reports memory pages that are bad and that the driver could not retire."""
    pages = _text(ras / "gpu_vram_bad_pages")
    return (
        ["its memory has bad pages that are still in use"] if any(": F" in line for line in pages.splitlines()) else []
    )


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _number(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text.isdecimal() else None

"""What a network's objects cost in memory, and whether this machine has it."""

from __future__ import annotations

from phenostream.errors import OverBudgetError
from phenostream.machine import free_memory

# Bytes, measured (tests/objects/test_memory.py) and rounded up: of a pixel of the image while objects are cut out of
# its maps, more where it lies in one, and while the network looks; of a pixel of the plane that the network is shown.
_CUT, _IN_OBJECTS, _KEPT, _SHOWN = 32, 40, 20, 32
_USUAL = 0.3  # share of an image in objects
_SMALL = 1 << 28  # bytes that no machine is asked for


def needed(pixels: int, shown: int, covered: float = 1.0) -> int:
    """Bytes needed at most beside the image itself and the network's own work.

    Args:
        pixels: of the image.
        shown: of the plane at the scale at which the network sees it.
        covered: share of the image in objects.
    """
    return max(int((_CUT + _IN_OBJECTS * covered) * pixels), _KEPT * pixels + _SHOWN * shown)


def hold(pixels: int, shown: int) -> None:
    """Refuse what this machine clearly cannot hold; arguments as of :func:`needed`.

    Raises:
        OverBudgetError: more is needed than is free; the message tells both.
    """
    wanted = needed(pixels, shown, _USUAL)
    if wanted > _SMALL and wanted > (free := free_memory()):
        raise OverBudgetError(
            f"an image of {pixels:,} pixels, shown to the network as {shown:,}, needs about {wanted / 1e6:,.0f} MB of"
            f" memory, {free / 1e6:,.0f} MB are free",
            remedy="cut it into parts, or give `diameter` where that is taken for too small",
        )

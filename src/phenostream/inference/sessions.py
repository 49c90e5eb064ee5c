"""ONNX Runtime, held at one place: sessions, devices, and its errors under names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from phenostream.errors import DamagedError, RecipeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Device", "device_of", "open_session", "run"]

Device = Literal["auto", "cpu", "cuda"]
_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


def open_session(onnx: bytes, *, device: Device = "auto", threads: int | None = None, profile: str = "") -> Any:
    """A session on the device; `profile` begins the names of its profile and of the optimised graph, empty for none.

    Raises RecipeError where ``cuda`` is asked for and is not there, DamagedError for a graph that ONNX Runtime refuses.
    """
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # A pattern a shape would be planned, and kept in one more block beside the arena's.
    options.enable_mem_pattern = False
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, profile
        options.optimized_model_filepath = f"{profile}.onnx"
    providers = _providers(device)
    try:
        session = onnxruntime.InferenceSession(onnx, options, providers=providers)
    except Exception as error:  # its errors share no base but Exception
        raise DamagedError(
            f"ONNX Runtime refuses the model: {str(error)[:300]}", remedy="export it again, with a lower opset perhaps"
        ) from error
    if device == "cuda" and _CUDA not in session.get_providers():
        raise RecipeError("CUDA is not there", remedy='device="auto", or install onnxruntime-gpu and its libraries')
    return session


def run(session: Any, images: NDArray[Any]) -> list[NDArray[Any]]:
    """All outputs for one batch. Raises DamagedError with ONNX Runtime's words."""
    try:
        return list(session.run(None, {session.get_inputs()[0].name: images}))
    except Exception as error:  # as above
        raise DamagedError(
            f"the model fails on an input of shape {images.shape}: {str(error)[:300]}",
            remedy="check its stride and minimum size in rdf.yaml",
        ) from error


def device_of(session: Any) -> str:
    """Where the session computes."""
    return "cuda" if _CUDA in session.get_providers() else "cpu"


def _providers(device: Device) -> list[str]:
    import onnxruntime  # noqa: PLC0415

    there = _CUDA in onnxruntime.get_available_providers()
    if device == "cuda" and not there:
        raise RecipeError("CUDA is not there", remedy='device="auto", or install onnxruntime-gpu and its libraries')
    return [_CUDA, _CPU] if there and device != "cpu" else [_CPU]

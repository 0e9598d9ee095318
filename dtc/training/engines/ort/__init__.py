"""The `ort` engine: onnxruntime-training 1.19.2 in a process of its own, installed apart from the user's runtime."""

from dtc.training.engine_kind import EngineKind
from dtc.training.engines.ort import install as private_copy

ENGINE = EngineKind(
    name="ort",
    title=f"onnxruntime-training {private_copy.VERSION}",
    device="CPU",
    factory="dtc.training.engines.ort.engine:OrtEngine",
    unavailable=private_copy.unavailable,
    installed=private_copy.installed,
    install=lambda: [private_copy.install()],
    remove_damaged=private_copy.remove_damaged,
    preference=10,
)

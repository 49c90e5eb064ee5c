"""Packed data: screens into shards and an index, any site in one read, and the formats of other tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phenostream.lazy import on_first_use

if TYPE_CHECKING:
    from phenostream.datasets.auditing import Audit, Estimate, audit, estimate
    from phenostream.datasets.exporting import Exported, export, export_formats, read_export, verify_export
    from phenostream.datasets.loading.batches import batches
    from phenostream.datasets.loading.settings import LoadSettings
    from phenostream.datasets.loading.tensors import torch_dataset, torch_loader
    from phenostream.datasets.looking import Finding
    from phenostream.datasets.packing import Packed, pack
    from phenostream.datasets.packs import Pack, open_pack
    from phenostream.datasets.screens import Screen, load_site, open_screen
    from phenostream.datasets.settings import PackSettings
    from phenostream.datasets.tfrecords import read_tfrecords
    from phenostream.datasets.verifying import Fault, Verified, verify_pack

__all__ = [
    "Audit",
    "Estimate",
    "Exported",
    "Fault",
    "Finding",
    "LoadSettings",
    "Pack",
    "PackSettings",
    "Packed",
    "Screen",
    "Verified",
    "audit",
    "batches",
    "estimate",
    "export",
    "export_formats",
    "load_site",
    "open_pack",
    "open_screen",
    "pack",
    "read_export",
    "read_tfrecords",
    "torch_dataset",
    "torch_loader",
    "verify_export",
    "verify_pack",
]

# Looked up on first use: some commands import this room for its names only.
__getattr__ = on_first_use(
    __name__,
    {
        "Audit": "auditing",
        "Estimate": "auditing",
        "Exported": "exporting",
        "Fault": "verifying",
        "Finding": "looking",
        "LoadSettings": "loading",
        "Pack": "packs",
        "PackSettings": "settings",
        "Packed": "packing",
        "Screen": "screens",
        "Verified": "verifying",
        "audit": "auditing",
        "batches": "loading",
        "estimate": "auditing",
        "export": "exporting",
        "export_formats": "exporting",
        "load_site": "screens",
        "open_pack": "packs",
        "open_screen": "screens",
        "pack": "packing",
        "read_export": "exporting",
        "read_tfrecords": "tfrecords",
        "torch_dataset": "loading",
        "torch_loader": "loading",
        "verify_export": "exporting",
        "verify_pack": "verifying",
    },
)

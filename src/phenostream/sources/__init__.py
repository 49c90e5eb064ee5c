"""Names to bytes: catalogs say what there is, transports bring it, stores make sure that it has arrived whole."""

from phenostream.sources.capture import Captured, CapturedStore, CapturingStore, MetadataCache
from phenostream.sources.download import Digest, download
from phenostream.sources.options import TransportOptions
from phenostream.sources.stores import Blob, LocalStore, RemoteStore, Traffic, open_store
from phenostream.sources.transport import Arrival, Lister, Transport

__all__ = [
    "Arrival",
    "Blob",
    "Captured",
    "CapturedStore",
    "CapturingStore",
    "Digest",
    "Lister",
    "LocalStore",
    "MetadataCache",
    "RemoteStore",
    "Traffic",
    "Transport",
    "TransportOptions",
    "download",
    "open_store",
]

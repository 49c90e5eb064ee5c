"""Google Cloud Storage, with or without credentials."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar

from obstore.exceptions import BaseError
from obstore.store import GCSStore

from phenostream.errors import RecipeError
from phenostream.sources.transports._objects import ObjectTransport, client

if TYPE_CHECKING:
    from phenostream.sources.options import TransportOptions

_ACCOUNTS = (
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_BEARER_TOKEN",
)


class Transport(ObjectTransport):
    """Reads objects below ``gs://bucket/prefix``."""

    advice: ClassVar[str] = "check bucket and endpoint"

    def opened(self, bucket: str, options: TransportOptions) -> Any:
        """See `ObjectTransport.opened`. Raises RecipeError where the service account's file cannot be used."""
        endpoint = options.endpoint or os.environ.get("GOOGLE_BASE_URL", "")
        config: dict[str, Any] = {"skip_signature": _anonymous(options)}
        if options.service_account:
            config["service_account"] = options.service_account
        if endpoint:
            config["base_url"] = endpoint
        how: Any = client(endpoint, options)
        try:
            return GCSStore(bucket, config=config, client_options=how, retry_config={"max_retries": 0})  # type: ignore[arg-type]
        except (BaseError, OSError, ValueError) as error:
            told = str(error).split("\n\nDebug source:")[0]
            raise RecipeError(f"the credentials for gs://{bucket} cannot be used: {told}") from error


def _anonymous(options: TransportOptions) -> bool:
    if options.anonymous is not None:
        return options.anonymous
    return not options.service_account and not any(os.environ.get(name) for name in _ACCOUNTS)

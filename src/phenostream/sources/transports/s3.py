"""S3 and services that speak its protocol, with or without credentials."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar

from obstore.store import S3Store

from phenostream.sources.transports._objects import ObjectTransport, client

if TYPE_CHECKING:
    from pydantic import SecretStr

    from phenostream.sources.options import TransportOptions

# Where credentials may come from besides the key pair: web identity (EKS), container roles (ECS).
_ROLES = ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")


class Transport(ObjectTransport):
    """Reads objects below ``s3://bucket/prefix``."""

    advice: ClassVar[str] = "check region, endpoint and path_style"

    def opened(self, bucket: str, options: TransportOptions) -> Any:
        """See `ObjectTransport.opened`."""
        endpoint = options.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
        config: dict[str, Any] = {
            "region": _region(options),
            "virtual_hosted_style_request": not options.path_style,
            "skip_signature": _anonymous(options),
            **_secrets(options),
        }
        if endpoint:
            config["endpoint"] = endpoint
        how: Any = client(endpoint, options)
        return S3Store(bucket, config=config, client_options=how, retry_config={"max_retries": 0})  # type: ignore[arg-type]


def _region(options: TransportOptions) -> str:
    told = options.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return told or "us-east-1"


def _secrets(options: TransportOptions) -> dict[str, str]:
    named: dict[str, SecretStr | None] = {
        "access_key_id": options.access_key_id,
        "secret_access_key": options.secret_access_key,
        "session_token": options.session_token,
    }
    return {name: secret.get_secret_value() for name, secret in named.items() if secret is not None}


def _anonymous(options: TransportOptions) -> bool:
    if options.anonymous is not None:
        return options.anonymous
    return options.access_key_id is None and not any(os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", *_ROLES))

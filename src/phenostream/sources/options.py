"""How transports behave: patience, limits, credentials."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class TransportOptions(BaseModel):
    """Settings of every transport; the defaults suit a public archive over the internet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    connect_timeout: float = Field(10.0, gt=0, description="Seconds until a host must have answered the connection.")
    timeout: float = Field(30.0, gt=0, description="Seconds without a byte after which a transfer counts as stalled.")
    tries: int = Field(6, ge=1, description="Tries of one read that bring no progress, before its error is final.")
    progress: int = Field(1 << 20, ge=1, description="A failed try that brought this many bytes does not count.")
    restarts: int = Field(3, ge=0, description="How often a read starts over because the file changed meanwhile.")
    backoff: float = Field(0.5, ge=0, description="Seconds: upper end of the first wait; doubles with each failure.")
    longest_wait: float = Field(30.0, ge=0, description="Seconds: no back-off is longer.")
    patience: float = Field(
        300.0, ge=0, description="Seconds: longest Retry-After that is honoured; beyond it the error goes up."
    )
    connections: int = Field(8, ge=1, description="Transfers at one time to one host, in this process.")
    rate: float | None = Field(None, gt=0, description="Bytes per second from one host, in this process.")
    redirects: int = Field(5, ge=0, description="Redirects that are followed.")
    largest_read: int = Field(
        2 << 30, ge=1, description="Bytes: a read into memory above this is refused before it starts."
    )
    largest_skip: int = Field(
        16 << 20, ge=0, description="Bytes thrown away at most where a server ignores ranges and sends the whole file."
    )
    hides_missing: bool = Field(
        False, description="The server answers 403 for names that do not exist (a public bucket that forbids listing)."
    )
    endpoint: str = Field(
        "", description="S3, GCS: URL of the service; empty: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or GOOGLE_BASE_URL."
    )
    region: str = Field("", description="S3: region; empty: AWS_REGION, AWS_DEFAULT_REGION, us-east-1.")
    anonymous: bool | None = Field(
        None, description="S3, GCS: send unsigned requests; none: exactly where no credentials are at hand."
    )
    access_key_id: SecretStr | None = Field(None, description="S3: key id; none: AWS_ACCESS_KEY_ID.")
    secret_access_key: SecretStr | None = Field(None, description="S3: secret; none: AWS_SECRET_ACCESS_KEY.")
    session_token: SecretStr | None = Field(None, description="S3: token of a session; none: AWS_SESSION_TOKEN.")
    path_style: bool = Field(True, description="S3: bucket in the path of the URL, not in the host name.")
    allow_http: bool = Field(
        False, description="S3, GCS: a plain-HTTP endpoint elsewhere; FTP: a password over an unprotected line."
    )
    service_account: str = Field(
        "", description="GCS: file of a service account; empty: GOOGLE_APPLICATION_CREDENTIALS and its companions."
    )
    user: str = Field("", description="FTP, Aspera: name of the user; empty: the one in the URL, else anonymous (FTP).")
    password: SecretStr | None = Field(None, description="FTP, Aspera: password, or passphrase of the key.")
    key_file: str = Field("", description="Aspera: file of the private key; empty: the password alone.")
    ascp: str = Field("", description="Aspera: the program, name or path; empty: ASPERA_SCP, else ascp on the PATH.")
    target_rate: str = Field(
        "500m", pattern=r"^\d+(\.\d+)?[kmgKMG]?$", description="Aspera: bits per second aimed at by each transfer."
    )
    scratch: str = Field("", description="Aspera: folder for whole files while they are read; empty: the system's.")
    largest_scratch: int = Field(4 << 30, ge=1, description="Bytes: what whole files may take there.")

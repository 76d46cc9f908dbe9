"""Whether an MLflow server can be used, asked before a study runs: mistakes are told then, an absence is outlasted."""

from __future__ import annotations

from collections.abc import Iterator

from datagen.core.errors import InputError
from orchestrator.tracking.address import EXPERIMENT
from orchestrator.tracking.secrets import redacted

ANSWERS_WITHIN = 10
"""Seconds. An address that swallows what it is sent keeps a sweep waiting for so long, once."""
CERTIFICATES = "MLFLOW_TRACKING_SERVER_CERT_PATH"


def check_server(uri: str) -> str:
    """Asks the server at `uri` something small, with MLflow's own settings for passwords and certificates.

    Returns:
        A sentence to show if it does not answer now or its experiment was deleted, "" if all is well.

    Raises:
        InputError: it is not trusted, does not let us in, or is no MLflow server: that would not pass by itself.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    shown, question = redacted(uri), "/api/2.0/mlflow/experiments/get-by-name"
    try:
        answer = http_request(
            get_default_host_creds(uri),
            question,
            "GET",
            params={"experiment_name": EXPERIMENT},
            max_retries=0,
            timeout=ANSWERS_WITHIN,
            raise_on_status=False,
        )
    except MlflowException as error:
        _refuse_distrust(error, shown)
        return (
            f"The MLflow server {shown} cannot be reached ({reason_of(error)}). The study runs all the same; give the "
            "same command again when the server answers, and it gets the records that it lacks."
        )
    if answer.status_code in (401, 403):
        raise InputError(
            f"The MLflow server {shown} does not let this user in (HTTP {answer.status_code}). "
            "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."
        )
    if answer.status_code >= 500:
        return f"The MLflow server {shown} is not well (HTTP {answer.status_code}). The study runs all the same."
    if not answer.headers.get("Content-Type", "").startswith("application/json"):
        raise InputError(f"What answers at {shown} is no MLflow server. Fix MLFLOW_TRACKING_URI, or unset it.")
    if answer.status_code == 200 and answer.json()["experiment"].get("lifecycle_stage") == "deleted":
        return f"The experiment {EXPERIMENT!r} was deleted in MLflow. It is restored, with its runs, for this record."
    return ""


def _refuse_distrust(error: BaseException, shown: str) -> None:
    """Raises an InputError if a connection failed for its certificates."""
    from requests.exceptions import ConnectionError as NoConnection
    from requests.exceptions import SSLError

    for item in _causes(error):
        if isinstance(item, SSLError):
            raise InputError(
                f"The certificate of the MLflow server {shown} is not trusted ({reason_of(error)}). Set {CERTIFICATES} "
                "to a file with the certificate of the authority that signed it."
            ) from error
        if isinstance(item, OSError) and not isinstance(item, NoConnection) and "certificate" in str(item):
            raise InputError(f"{item}. Fix {CERTIFICATES} or MLFLOW_TRACKING_CLIENT_CERT_PATH.") from error


def reason_of(error: BaseException) -> str:
    """What went wrong with a request, in a few words: what the system says of its connection, else its first line."""
    import ssl

    for item in _causes(error):
        if isinstance(item, ssl.SSLCertVerificationError):
            return item.verify_message
    for item in _causes(error):
        if type(item).__name__ in ("ConnectTimeout", "ConnectTimeoutError", "ReadTimeout", "ReadTimeoutError"):
            return "no answer in time"
        if isinstance(item, OSError) and item.errno and item.strerror:
            return item.strerror
    return (redacted(str(error)).splitlines() or [type(error).__name__])[0]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The exception, and those that it was raised from or while handling, the outermost first."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__

"""Where the API server is and who we are there: read once, used by the official client and by kopf alike."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import kopf
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

IN_CLUSTER = "KUBERNETES_SERVICE_HOST"
TOKEN = "BearerToken"  # noqa: S105 - the name that the official client gives to it
CONNECTIONS = 64  # at the same time; more only queue up in the API server


async def load_configuration(kubeconfig: Path | None = None) -> Any:
    """From the file if one is named, else from the pod's service account, else as kubectl would find it."""
    configuration = Configuration()
    configuration.connection_pool_maxsize = CONNECTIONS
    configuration.retries = None  # our own know the deadline, and repeat applies as well
    # Else each call looks for a ~/.netrc and for proxies anew, in threads. The kubeconfig may name a proxy.
    configuration.client_session_kwargs = {"trust_env": False}
    if kubeconfig is None and IN_CLUSTER in os.environ:
        config.load_incluster_config(configuration)
    else:
        file = str(kubeconfig) if kubeconfig else None
        await config.load_kube_config(config_file=file, client_configuration=configuration)
    return configuration


async def for_kopf(configuration: Any) -> kopf.ConnectionInfo:
    """kopf asks again when its token was refused; service accounts' tokens are read from their file anew then."""
    header = await configuration.get_api_key_with_prefix(TOKEN)
    scheme, _, token = (header or "").partition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        ca_data=configuration.ca_cert_data,
        insecure=not configuration.verify_ssl,
        scheme=scheme.capitalize() or None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        proxy_url=configuration.proxy,
    )


class NoAnswerError(Exception):
    """The API server couldn't be reached, or the connection ended before the answer."""


class TooLongError(Exception):
    """The answer is larger than was asked for; the rest of it wasn't read."""


class Answer:
    """One answer of the API server, whatever it says."""

    def __init__(self, code: int, headers: Mapping[str, str], data: bytes) -> None:
        self.code, self.headers, self.data = code, headers, data


class Connection:
    """One request, one answer: the official client's addresses, certificates, tokens and connection pool.

    Its raw calls are used, because its dynamic client asks for the list of kinds first and wraps every field of every
    answer: half of the requests, and twice the processor time.
    """

    def __init__(self, configuration: Any, *, user_agent: str = "slipway") -> None:
        self._api = ApiClient(configuration)
        self._api.user_agent = user_agent

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: Any = None,
        timeout: float,
        at_most: int | None = None,
    ) -> Answer:
        """Raises TooLongError if the answer has more than `at_most` bytes."""
        signed = {**self._api.default_headers, **headers}
        # The client says "any error of the network" with a dozen classes of three libraries.
        try:
            await self._api.update_params_for_auth(signed, [], [TOKEN], path, method, body)
            response = await self._api.call_api(
                method,
                self._api.configuration.host + path,
                header_params=signed,
                body=body,
                _request_timeout=aiohttp.ClientTimeout(total=timeout),
            )
            data = await response.read() if at_most is None else await _first_of(response.response, at_most)
            return Answer(response.status, response.headers, data)
        except TimeoutError:
            raise NoAnswerError(f"no answer within {timeout:.1f} s") from None
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            raise NoAnswerError(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        await self._api.close()


async def _first_of(response: aiohttp.ClientResponse, at_most: int) -> bytes:
    data = bytearray()
    async for piece in response.content.iter_any():
        data += piece
        if len(data) > at_most:
            response.close()
            raise TooLongError(f"more than {at_most} bytes are too many here")
    return bytes(data)

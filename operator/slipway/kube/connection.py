"""Where the API server is and who we are there: read once, for the official client and for kopf alike."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from slipway.process.lifecycle import CannotStartError

IN_CLUSTER = "KUBERNETES_SERVICE_HOST"
TOKEN = "BearerToken"  # noqa: S105 - the official client's name for it
CONNECTIONS = 64  # at the same time; more would only queue up in the API server


async def load_configuration(kubeconfig: Path | None = None) -> Any:
    """From the file if one is named, else from the pod's service account, else as kubectl would find it."""
    configuration = Configuration()
    configuration.connection_pool_maxsize = CONNECTIONS
    configuration.retries = None  # `call_retries` knows the deadline, and repeats applies as well
    # Otherwise each call searches for a ~/.netrc and for proxies again, in threads. The kubeconfig may name a proxy.
    configuration.client_session_kwargs = {"trust_env": False}
    try:
        if kubeconfig is None and IN_CLUSTER in os.environ:
            config.load_incluster_config(configuration)
        else:
            file = str(kubeconfig) if kubeconfig else None
            await config.load_kube_config(config_file=file, client_configuration=configuration)
    except config.ConfigException as error:
        raise CannotStartError(f"No way to an API server ({error}): run in a pod, or name a --kubeconfig") from error
    return configuration


class NoResponseError(Exception):
    """The API server couldn't be reached, or the connection ended before the response."""


class TooLongError(Exception):
    """The response is larger than the caller allows; the rest of it wasn't read."""


class ApiResponse:
    """One response of the API server, with any status code."""

    def __init__(self, code: int, headers: Mapping[str, str], data: bytes) -> None:
        self.code, self.headers, self.data = code, headers, data


class Connection:
    """One request, one response, by the official client's addresses, certificates, tokens and connection pool.

    It uses the client's raw calls, because its dynamic client first requests the list of kinds and wraps every field of
    every response: that would double the requests and the CPU time.
    """

    def __init__(self, configuration: Any, *, user_agent: str = "slipway") -> None:
        self._api = ApiClient(configuration)
        self._api.user_agent = user_agent

    @property
    def configuration(self) -> Any:
        return self._api.configuration

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: Any = None,
        timeout: float,
        at_most: int | None = None,
    ) -> ApiResponse:
        """Raises TooLongError if the response has more than `at_most` bytes."""
        signed = {**self._api.default_headers, **headers}
        # The client raises a dozen classes of three libraries for an error of the network.
        try:
            await self._api.update_params_for_auth(signed, [], [TOKEN], path, method, body)
            response = await self._api.call_api(
                method,
                self.configuration.host + path,
                header_params=signed,
                body=body,
                _request_timeout=aiohttp.ClientTimeout(total=timeout),
            )
            data = await response.read() if at_most is None else await _first_of(response.response, at_most)
            return ApiResponse(response.status, response.headers, data)
        except TimeoutError:
            raise NoResponseError(f"no answer within {timeout:.1f} s") from None
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            raise NoResponseError(str(error) or type(error).__name__) from error

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

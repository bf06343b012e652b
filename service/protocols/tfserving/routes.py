"""The route for every request under `/v1` that is not a prediction: states of versions, and signatures."""

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.exceptions import HTTPException

from service.errors import RequestError, UnknownLabelError, UnknownModelError, UnknownVersionError
from service.lifecycle.on_demand import look_up
from service.lifecycle.served_models import ModelStatus, ServedModels, State, VersionStatus, by_version
from service.protocols.protocol import Match, raw_path_of
from service.protocols.routes import json_response
from service.protocols.tfserving.paths import LIST, METADATA, V1, unknown_label
from service.types import ModelSpec, SignatureSpec, TensorSpec

PREDICT_METHOD = "tensorflow/serving/predict"

_STATES = dict.fromkeys((State.VERIFYING, State.TRIAL, State.WARMING), State.LOADING) | {State.FAILED: State.END}
"""TensorFlow Serving's states where they differ from the service's."""
_DTYPES = {"float16": "DT_HALF", "float32": "DT_FLOAT", "float64": "DT_DOUBLE"}
"""Names that differ from the dtype's own in upper case."""

ANYTHING = "anything"
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE")


class _Anything(PathConvertor):
    """The rest of a path, line breaks included; Starlette's own pattern stops at them."""

    regex = r"[\s\S]*"


register_url_convertor(ANYTHING, _Anything())


def router(manager: ServedModels) -> APIRouter:
    """Return one route for everything under `/v1`; the table of paths documents it."""
    routes = APIRouter(include_in_schema=False)

    async def answer(request: Request) -> Response:
        return await _answer(manager, request)

    for path in ("/v1", "/V1"):
        routes.add_api_route(path, answer, methods=list(_METHODS))
        routes.add_api_route(f"{path}/{{rest:{ANYTHING}}}", answer, methods=list(_METHODS))
    return routes


async def _answer(manager: ServedModels, request: Request) -> Response:
    match, method = V1.match(request.scope), request.method
    if method == "OPTIONS":
        origin = request.headers.get("origin", "")
        return Response(status_code=200 if origin.lower().startswith(("http://", "https://")) else 400)
    if match is None:
        raise RequestError(f"Malformed request: {method} {raw_path_of(request.scope)[:256]}")
    if method != match.path.method:
        raise HTTPException(405, headers={"Allow": match.path.method})
    if match.path is LIST:
        return json_response(models(manager.statuses.values()))
    version = None if match.version is None else V1.version_number(match.version)
    if match.path in METADATA:
        return json_response(metadata((await look_up(manager, match.model, version, match.label)).spec))
    return json_response(_status(manager, match, version))


def _status(manager: ServedModels, match: Match, version: int | None) -> dict[str, Any]:
    try:
        status = manager.status(match.model)
    except UnknownModelError as error:
        raise UnknownModelError(_not_found(match.model, version)) from error
    if match.label is not None:
        if match.label not in status.labels:
            raise UnknownLabelError(unknown_label(match.model, match.label, list(status.labels)))
        version = status.labels[match.label].version
    found = version_statuses(status, version)
    if not found:
        raise UnknownVersionError(_not_found(match.model, version))
    return {"model_version_status": found}


def _not_found(model: str, version: int | None) -> str:
    what = "any versions" if version is None else f"version {version}"
    return f"Could not find {what} of model {model}"


def version_statuses(model: ModelStatus, version: int | None = None) -> list[dict[str, Any]]:
    """Return the states of all versions, or of one, newest first; a version that was never to be served is left out."""
    found = by_version(status for status in model.versions if status.wanted or status.state != State.START)
    return [_version(found[number]) for number in sorted(found, reverse=True) if version in (None, number)]


def models(statuses: Iterable[ModelStatus]) -> dict[str, Any]:
    """Return every model with its versions and labels."""
    return {
        "models": [
            {
                "name": status.name,
                "model_version_status": version_statuses(status),
                "version_labels": {label: str(its.version) for label, its in status.labels.items()},
            }
            for status in statuses
        ]
    }


def metadata(spec: ModelSpec) -> dict[str, Any]:
    """Return the signatures of one version."""
    signatures = {name: _signature(spec, name, signature) for name, signature in sorted(spec.signatures.items())}
    return {
        "model_spec": {"name": spec.name, "signature_name": "", "version": str(spec.version)},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


def _version(status: VersionStatus) -> dict[str, Any]:
    state = State(status.state)
    code, message = ("UNKNOWN", status.error or "") if state == State.FAILED else ("OK", "")
    return {
        "version": str(status.version),
        "state": _STATES.get(state, state).name,
        "status": {"error_code": code, "error_message": message},
    }


def _signature(spec: ModelSpec, name: str, signature: SignatureSpec) -> dict[str, Any]:
    tensors = spec.tensors.get(name)
    inputs, outputs = (tensors.inputs, tensors.outputs) if tensors else ({}, {})
    return {
        "inputs": {tensor.name: _tensor(tensor, inputs.get(tensor.name, "")) for tensor in signature.inputs},
        "outputs": {tensor.name: _tensor(tensor, outputs.get(tensor.name, "")) for tensor in signature.outputs},
        "method_name": tensors.method_name if tensors else PREDICT_METHOD,
        "defaults": {},
    }


def _tensor(tensor: TensorSpec, name: str) -> dict[str, Any]:
    sizes = [{"size": str(size), "name": ""} for size in tensor.shape or ()]
    return {
        "dtype": _DTYPES.get(tensor.dtype, f"DT_{tensor.dtype.upper()}"),
        "tensor_shape": {"dim": sizes, "unknown_rank": tensor.shape is None},
        "name": name,
    }

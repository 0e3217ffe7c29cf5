"""The API itself: its routers, its errors, and an OpenAPI document that is true."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import ValidationError, ValidationErrorContext
from ninja.openapi.docs import Swagger
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation

from notifications.api import (
    access,
    audiences,
    batches,
    chains,
    contract,
    event_rules,
    events,
    failed_deliveries,
    failed_runs,
    for_generators,
    jobs,
    known_fields,
    notifications,
    preferences,
    providers,
    queries,
    queues,
    recipients,
    refusals,
    suppressions,
    templates,
    throttles,
    windows,
)
from notifications.api.bodies import JsonParser
from notifications.api.pages import problem_router


class Api(NinjaAPI):
    """An API whose every refusal is a problem document, and documented as one."""

    def on_exception(self, request: HttpRequest, exc: Any) -> HttpResponse:
        """Answer whatever was raised, instead of leaving it to Django's pages."""
        return refusals.refuse(request, exc)

    def validation_error_from_error_contexts(
        self, error_contexts: list[ValidationErrorContext[Any]]
    ) -> ValidationError:
        """Return what is wrong with a request, with the known fields beside an unknown one."""
        error = super().validation_error_from_error_contexts(error_contexts)
        found = iter(error.errors)
        for context in error_contexts:
            for refusal in context.pydantic_validation_error.errors(include_url=False):
                told = next(found)
                if refusal["type"] == known_fields.UNKNOWN:
                    told["known"] = known_fields.beside(context.model, refusal["loc"])
        return error

    def get_openapi_schema(
        self, *, path_prefix: str | None = None, path_params: Any = None
    ) -> OpenAPISchema:
        """Return the document, with the refusals that every operation may answer with."""
        document = super().get_openapi_schema(path_prefix=path_prefix, path_params=path_params)
        contract.complete(document)
        for_generators.mend(document)
        return document

    def get_openapi_operation_id(self, operation: Operation) -> str:
        """Name operations as the code does: ``create_notification``."""
        return str(operation.view_func.__name__)


api = Api(
    title="Notifications",
    version="1",
    description=contract.DESCRIPTION,
    urls_namespace="api",
    docs=Swagger(settings={"persistAuthorization": True}),
    parser=JsonParser(),
)
api.add_router("/notifications/batch", batches.router, tags=["Batches"])
api.add_router("/notifications", notifications.router, tags=["Notifications"])
api.add_router("/jobs", jobs.router, tags=["Jobs"])
api.add_router("/failed-runs", failed_runs.router, tags=["Jobs"])
api.add_router("/templates", templates.router, tags=["Templates"])
api.add_router("/failed-deliveries", failed_deliveries.router, tags=["Failed deliveries"])
api.add_router("/suppressions", suppressions.router, tags=["Suppressions"])
api.add_router("/recipients", recipients.router, tags=["Recipients"])
api.add_router("/recipients", preferences.router, tags=["Recipients"])
api.add_router("/categories", preferences.category_router, tags=["Recipients"])
api.add_router("/delivery-windows", windows.router, tags=["Recipients"])
api.add_router("/throttles", throttles.router, tags=["Recipients"])
api.add_router("/chains", chains.router, tags=["Chains"])
api.add_router("/chain-runs", chains.run_router, tags=["Chains"])
api.add_router("/audiences", audiences.router, tags=["Recipients"])
api.add_router("/events", events.router, tags=["Events"])
api.add_router("/event-rules", event_rules.router, tags=["Events"])
api.add_router("/providers", providers.router, tags=["Providers"])
api.add_router("/queues", queues.router, tags=["Queues"])
api.add_router("/problems", problem_router, tags=["Problems"])
access.guard(api)
queries.refuse_unknown(api)

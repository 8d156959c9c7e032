"""Which GraphQL queries MLflow's UI may ask: those that only read, and start at a known field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    OperationDefinitionNode,
    OperationType,
    SelectionNode,
    parse,
    print_ast,
)
from starlette.exceptions import HTTPException

#: where the queries of MLflow's UI begin
FIELDS = frozenset(
    {
        "mlflowGetExperiment",
        "mlflowGetMetricHistoryBulkInterval",
        "mlflowGetRun",
        "mlflowSearchRuns",
    }
)
MAX_LENGTH, MAX_TOKENS = 50_000, 5000


def rebuilt(body: dict[str, Any]) -> dict[str, Any]:
    """Return a request of GraphQL, its query rewritten; HTTPException if it isn't passed on."""
    query, variables = body.get("query"), body.get("variables") or {}
    operation = body.get("operationName")
    if not isinstance(query, str) or len(query) > MAX_LENGTH or not isinstance(variables, dict):
        raise HTTPException(400, f"a query of at most {MAX_LENGTH:,} characters is needed")
    if not isinstance(operation, str | None):
        raise HTTPException(400, "operationName: must be a name")
    try:
        document = parse(query, no_location=True, max_tokens=MAX_TOKENS)
        text = print_ast(document)
    except (GraphQLError, RecursionError) as error:
        raise HTTPException(400, "the query must be valid GraphQL") from error
    for root in _roots(document):
        if not isinstance(root, FieldNode) or root.name.value not in FIELDS:
            raise HTTPException(405, f"a query must begin with one of {', '.join(sorted(FIELDS))}")
    return {"operationName": operation, "variables": variables, "query": text}


def _roots(document: DocumentNode) -> Iterator[SelectionNode]:
    """Yield where the operations of a document begin; HTTPException if one is no query."""
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            if definition.operation is not OperationType.QUERY:
                raise HTTPException(405, "MLflow is read-only here")
            yield from definition.selection_set.selections
        elif not isinstance(definition, FragmentDefinitionNode):
            raise HTTPException(400, "the query may hold operations and fragments only")

"""`/v1/call/export`: calls of any period as one file, written by workers."""

from __future__ import annotations

from itertools import chain
from typing import Any

from flask import Response

from service.access.scopes import Scope
from service.api.answer import answer, moment, page
from service.api.context import holder, services
from service.api.guard import needs
from service.api.once import once
from service.api.parsing import Blueprint
from service.api.reference import export_id
from service.api.schemas import call_export as examples
from service.api.schemas.call_export import EXPORT_PAGE, ExportQuery, ExportRequest, ExportSchema
from service.api.write import ring_soon, unit
from service.calls.export import Export, Status, create_export, find_export, list_exports, read_file
from service.calls.period import between
from service.calls.wanted import Wanted, of_customer_within
from service.doorbell import EXPORT, Bell

GZIP = "application/gzip"
FILENAME = "calls.csv.gz"
_FILE_HEADERS = {
    "Content-Disposition": {"description": f'`attachment; filename="{FILENAME}"`', "schema": {"type": "string"}}
}

blueprint = Blueprint(
    "Call export", __name__, url_prefix="/v1/call/export", description="Calls of any period, as a file"
)


@blueprint.route("", methods=["POST"])
@needs(Scope.CALL_READ)
@once
@blueprint.arguments(ExportRequest())
@blueprint.response(200, ExportSchema(), example=examples.ASKED)
def post_export(body: dict[str, Any]) -> Response:
    """Have the calls of a period of any length written to a file: a gzipped CSV, newest first.

    API dùng để xuất danh sách cuộc gọi của khoảng thời gian dài (hơn 31 ngày). The columns are those of the call log as
    CSV. Ask for `export` until its status is `done`, and then for `download`. At most 10 can be unfinished.
    """
    narrowed = {name: body.get(name) for name in ("source", "destination", "disposition", "min_duration")}
    period = between(body["start_date"], body["end_date"])
    wanted = Wanted(holder().client_id, period, unmatched=body.get("unmatched", False), **narrowed)
    with unit() as tx:
        if "customer" in body:
            wanted = of_customer_within(tx, wanted, body["customer"])
        export = create_export(tx, wanted)
    ring_soon(Bell(EXPORT))
    return answer(_dump(export))


@blueprint.route("", methods=["GET"])
@needs(Scope.CALL_READ)
@blueprint.arguments(ExportQuery(), location="query")
@blueprint.response(200, EXPORT_PAGE, example=examples.PAGE)
def get_exports(query: dict[str, Any]) -> Response:
    """List the exports, newest first.

    API dùng để lấy danh sách các lần xuất cuộc gọi.
    """
    rows, total = list_exports(services().engine, holder().client_id, **query)
    return page(rows, _dump, query, total)


@blueprint.route("/<export_id:export>", methods=["GET"])
@needs(Scope.CALL_READ)
@blueprint.response(200, ExportSchema(), example=examples.DONE)
def get_export(export: str) -> Response:
    """See how far an export is.

    API dùng để xem tiến độ xuất danh sách cuộc gọi. A failed one is not tried again: ask for another.
    """
    return answer(_dump(_find(export)))


@blueprint.route("/<export_id:export>/download", methods=["GET"])
@needs(Scope.CALL_READ)
@blueprint.response(200, {"type": "string", "format": "binary"}, content_type=GZIP, headers=_FILE_HEADERS)
def get_download(export: str) -> Response:
    """Download the file of an export that is done.

    API dùng để tải tệp CSV (nén gzip) đã xuất. Texts that begin like a formula are led by an apostrophe. A transfer
    that breaks off is shorter than `Content-Length` says.
    """
    found = _find(export)
    chunks = read_file(services().engine, found)
    first = next(chunks)  # read before the answer begins: a database that is away still makes a 503
    response = Response(chain([first], chunks), content_type=GZIP)
    response.content_length = found.size
    response.headers["Content-Disposition"] = f'attachment; filename="{FILENAME}"'
    return response


def _find(text: str) -> Export:
    return find_export(services().engine, holder().client_id, export_id(text))


def _dump(export: Export) -> dict[str, Any]:
    path, wanted = f"{blueprint.url_prefix}/{export.id}", export.wanted
    assert wanted.when is not None
    return {
        "id": str(export.id),
        "export": path,
        "status": export.status.value,
        "progress": export.progress,
        "total": export.total,
        "written": export.written,
        "size": export.size,
        "download": f"{path}/download" if export.status is Status.DONE else None,
        "error": export.error if export.status is Status.FAILED else None,
        "start_date": moment(wanted.when.start),
        "end_date": moment(wanted.when.end),
        "source": wanted.source,
        "customer_id": None if wanted.customer_id is None else str(wanted.customer_id),
        "destination": wanted.destination,
        "disposition": wanted.disposition,
        "min_duration": wanted.min_duration,
        "unmatched": wanted.unmatched,
        "created_at": moment(export.created_at),
        "finished_at": moment(export.finished_at),
        "expires_at": moment(export.expires_at),
    }

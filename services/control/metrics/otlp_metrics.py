"""Reads OTLP metric requests: series out, malformed points counted and said why."""

import math
from collections.abc import Iterator
from typing import Any

import orjson
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import DataPointFlags, Metric

from services.control.metrics.series import Series
from services.control.telemetry.otlp import Rejections
from services.control.telemetry.otlp_values import plain_attributes
from services.control.telemetry.span import MAX_NAME_CHARS, MAX_TIME_NS, promoted

MAX_ATTRIBUTE_BYTES = 2_048
MAX_BUCKETS = 200
_KINDS = {"exponential_histogram": "histogram"}
_TEMPORALITIES = ("", "delta", "cumulative")


def read_metrics(request: ExportMetricsServiceRequest, rejections: Rejections) -> Iterator[Series]:
    """Yield a series for each point of the request; those that are malformed are counted in `rejections` instead."""
    for resource_metrics in request.resource_metrics:
        resource = plain_attributes(resource_metrics.resource.attributes)
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                yield from _read_points(metric, resource, rejections)


def _read_points(metric: Metric, resource: dict[str, Any], rejections: Rejections) -> Iterator[Series]:
    kind = metric.WhichOneof("data")
    if kind is None or not metric.name:
        rejections.add("a metric has no name or no data")
        return
    data = getattr(metric, kind)
    temporality = getattr(data, "aggregation_temporality", 0)
    for point in data.data_points:
        if point.flags & DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK:
            continue
        packed = orjson.dumps(plain_attributes(point.attributes), option=orjson.OPT_SORT_KEYS)
        values = _scalar(point) if kind in ("gauge", "sum") else _distribution(point)
        if fault := _fault(point, packed, values):
            rejections.add(fault)
            continue
        yield Series(
            name=metric.name[:MAX_NAME_CHARS],
            kind=_KINDS.get(kind, kind),
            unit=metric.unit[:MAX_NAME_CHARS],
            description=metric.description[:MAX_NAME_CHARS],
            service=promoted(resource, "service.name") or "unknown_service",
            instance_id=promoted(resource, "service.instance.id") or "",
            attributes=packed,
            temporality=_TEMPORALITIES[temporality] if 0 <= temporality < len(_TEMPORALITIES) else "",
            time_ns=point.time_unix_nano,
            **values,
        )


def _scalar(point: Any) -> dict[str, Any]:
    kind = point.WhichOneof("value")
    return {"value": float(getattr(point, kind)) if kind else math.nan}


def _distribution(point: Any) -> dict[str, Any]:
    """Of a histogram of either sort, or a summary; exponential buckets and quantiles are left out."""
    bounds = tuple(getattr(point, "explicit_bounds", ()))
    return {
        "count": point.count,
        "sum": point.sum,
        "bounds": bounds,
        "bucket_counts": tuple(point.bucket_counts) if bounds else (),
    }


def _fault(point: Any, attributes: bytes, values: dict[str, Any]) -> str:
    if not 0 < point.time_unix_nano <= MAX_TIME_NS:
        return "time_unix_nano must be a time until 2262"
    if len(attributes) > MAX_ATTRIBUTE_BYTES:
        return f"the attributes of a point are larger than {MAX_ATTRIBUTE_BYTES} bytes"
    bounds, counts = values.get("bounds", ()), values.get("bucket_counts", ())
    if len(bounds) > MAX_BUCKETS:
        return f"a histogram has more than {MAX_BUCKETS} buckets"
    if bounds and len(counts) not in (0, len(bounds) + 1):
        return "a histogram's bounds and bucket counts do not match"
    if not all(map(math.isfinite, (values.get("value", 0.0), values.get("sum", 0.0), *bounds))):
        return "a value is not a finite number"
    return ""

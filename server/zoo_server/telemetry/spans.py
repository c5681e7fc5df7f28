"""Each request as spans of OpenTelemetry, sent to a collector by OTLP over HTTP; needs the extra `otel`.

    infer ├─ queue ─┤├─ compute ─┤        a child of the caller's span, if the call names one

The caller's context is W3C's `traceparent`, in gRPC's metadata or HTTP's headers. Spans are made after
the request, by the journal's thread (requests.py): they cost those who wait nothing.
"""

import time

from zoo_server.errors import ConfigurationError
from zoo_server.telemetry.requests import TRACE_HEADER, RequestRecord

#: How long one batch of spans may take to be sent; a collector that is away must not hold up the end.
_EXPORT_SECONDS = 2.0


class Spans:
    """Makes spans of records: a listener of the journal."""

    def __init__(self, endpoint: str, service: str) -> None:
        """`endpoint` is a URL; ConfigurationError without the packages."""
        try:
            from opentelemetry import trace
            from opentelemetry.context import Context
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import SERVICE_NAME, Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise ConfigurationError(
                f"--otel-endpoint needs OpenTelemetry ({error}): pip install 'layer-zoo[otel]'"
            ) from None
        self._trace = trace
        self._no_context = Context()
        self._propagator = TraceContextTextMapPropagator()
        self._provider = TracerProvider(
            resource=Resource.create({SERVICE_NAME: service}), shutdown_on_exit=False
        )
        exporter = OTLPSpanExporter(endpoint=endpoint, timeout=_EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("zoo_server")

    def __call__(self, record: RequestRecord) -> None:
        """Make the spans of one request."""
        # What the two clocks differ by now: the one that counts in the records does not jump.
        epoch_ns = time.time_ns() - time.perf_counter_ns()
        parent = self._propagator.extract({TRACE_HEADER: record.traceparent}, self._no_context)
        request = self._tracer.start_span(
            "infer",
            parent,
            kind=self._trace.SpanKind.SERVER,
            attributes={
                "model.name": record.model,
                "model.version": record.version,
                "request.id": record.id,
                "request.rows": record.rows,
                "batch.rows": record.batch,
            },
            start_time=epoch_ns + record.arrived_ns,
        )
        within = self._trace.set_span_in_context(request, parent)
        began = record.started_ns or record.finished_ns
        self._span("queue", within, epoch_ns + record.arrived_ns, epoch_ns + began)
        if record.started_ns:
            self._span("compute", within, epoch_ns + began, epoch_ns + record.finished_ns)
        if record.error:
            request.set_status(self._trace.StatusCode.ERROR, record.error)
        request.end(epoch_ns + record.finished_ns)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()

    def _span(self, name: str, within: object, start_ns: int, end_ns: int) -> None:
        self._tracer.start_span(name, within, start_time=start_ns).end(end_ns)

"""A collector: takes what is posted, reads it by OpenTelemetry's own messages, and prints it."""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest


class Collector(BaseHTTPRequestHandler):
    def do_POST(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        request = ExportMetricsServiceRequest.FromString(content)
        for resource in request.resource_metrics:
            of = {item.key: item.value.string_value for item in resource.resource.attributes}
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.gauge.data_points:
                        print(json.dumps({
                            "path": self.path,
                            "type": self.headers["Content-Type"],
                            "of": of,
                            "name": metric.name,
                            "unit": metric.unit,
                            "value": point.as_double,
                            "seconds": (point.time_unix_nano - point.start_time_unix_nano) / 1e9,
                            "at": point.time_unix_nano / 1e9,
                            "attributes": {item.key: item.value.string_value for item in point.attributes},
                        }), flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


HTTPServer((sys.argv[1], int(sys.argv[2])), Collector).serve_forever()

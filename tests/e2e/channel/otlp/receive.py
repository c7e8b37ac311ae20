"""A collector: takes what is posted, reads it by OpenTelemetry's own messages, and prints it.

With a certificate and its key behind address and port it speaks TLS.
"""

import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest


def plain(value):
    return getattr(value, value.WhichOneof("value"))


class Collector(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/logs":
            self.logs(content)
        else:
            self.metrics(content)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def logs(self, content):
        for resource in ExportLogsServiceRequest.FromString(content).resource_logs:
            for scope in resource.scope_logs:
                for record in scope.log_records:
                    print(json.dumps({
                        "record": plain(record.body),
                        "severity": record.severity_text,
                        "number": record.severity_number,
                        "at": record.time_unix_nano / 1e9,
                        "attributes": {item.key: plain(item.value) for item in record.attributes},
                    }), flush=True)

    def metrics(self, content):
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

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Collector)
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3], sys.argv[4])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()

# SPDX-License-Identifier: MIT
"""gRPC without generated code: serve PORT, or ask SERVER PORT COUNT KEEPALIVE_MS whom the server sees.
Its client makes IPv6 sockets also for IPv4, sets IPV6_V6ONLY to 0 on each, and TCP_USER_TIMEOUT if it is
to keep connections alive (0: not)."""
import concurrent.futures
import sys

import grpc

METHOD = "/lab.Who/Ask"


class Who(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method == METHOD:
            return grpc.unary_unary_rpc_method_handler(
                lambda request, context: request + b" " + context.peer().encode())


def serve(port):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), handlers=[Who()])
    server.add_insecure_port(f"[::]:{port}")
    server.start()
    server.wait_for_termination()


def ask(server, port, count, keepalive_ms):
    scheme, host = ("ipv6", f"[{server}]") if ":" in server else ("ipv4", server)
    for number in range(int(count)):
        options = [("grpc.use_local_subchannel_pool", 1)]  # each call on a connection of its own
        if int(keepalive_ms):
            options.append(("grpc.keepalive_time_ms", int(keepalive_ms)))
        with grpc.insecure_channel(f"{scheme}:{host}:{port}", options) as channel:
            answer = channel.unary_unary(METHOD)(b"%d" % number, timeout=15)
            print(answer.decode().rpartition(":")[0])


if __name__ == "__main__":
    {"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:])

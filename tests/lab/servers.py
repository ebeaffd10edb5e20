# SPDX-License-Identifier: MIT
"""Real servers in the server's namespace, each with a configuration of its own.

Run as a program this is git's:  servers.py DIRECTORY PORT
"""
import http.server
import os
import random
import socket
import subprocess
import sys
import time
import urllib.parse

import lab as L

HTTP, HTTPS, SSH, REDIS, GIT = 80, 443, 22, 6379, 8000

# behind the server's namespace, which is a router too: ICMP host unreachable, ICMP
# administratively prohibited, ICMP port unreachable, and no answer at all
UNREACHABLE, PROHIBITED, NO_PORT, MUTE = "10.9.0.1", "10.7.0.1", "10.6.0.1", "10.8.0.1"
UNREACHABLE6, PROHIBITED6, NO_PORT6, MUTE6 = "fd09::1", "fd07::1", "fd06::1", "fd08::1"

NGINX = """
daemon off; master_process off; worker_processes 1;
pid {dir}/pid; error_log {dir}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log {dir}/access.log combined;
    default_type application/octet-stream;
    client_max_body_size 0;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/t1; fastcgi_temp_path {dir}/t2;
    uwsgi_temp_path {dir}/t3; scgi_temp_path {dir}/t4;
    server {{
        listen {http} backlog=4000; listen [::]:{http} backlog=4000;
        listen {https} ssl; listen [::]:{https} ssl;
        ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem;
        root {dir}/www;
        location = /who {{ return 200 "$remote_addr\\n"; }}
        location /put/ {{ dav_methods PUT DELETE; }}
    }}
}}
"""


def random_bytes(size, seed=1):
    """Reproducible, and cheap for hundreds of megabytes: one megabyte, rotated."""
    block = random.Random(seed).randbytes(min(size, 1 << 20))
    out = bytearray()
    shift = 0
    while len(out) < size:
        out += block[shift:] + block[:shift]
        shift = (shift + 4099) % len(block)
    return bytes(out[:size])


def nginx(lab, ns="server", v4=L.SERVER, v6=L.SERVER6):
    """/who says whom the server saw, /small and /page are files, PUT /put/NAME."""
    base = L.TMP / f"nginx-{ns}"
    (base / "www/put").mkdir(parents=True)
    (base / "www/small").write_bytes(b"hello from nginx\n")
    (base / "www/page").write_bytes(random_bytes(300000))
    L.command(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
               "-subj", "/CN=server.lab", "-addext", f"subjectAltName=IP:{v4},IP:{v6}",
               "-keyout", base / "key.pem", "-out", base / "cert.pem"])
    config = base / "nginx.conf"
    config.write_text("user root;\n" * (os.geteuid() == 0) +
                      NGINX.format(dir=base, http=HTTP, https=HTTPS))
    server = lab.start(ns, ["nginx", "-c", config, "-e", base / "error.log"])
    server.wait_for_listeners(HTTP, HTTPS)
    server.base = base
    server.access_log = base / "access.log"
    server.lines_so_far = lambda: lines_so_far(server, ns)
    return server


def lines_so_far(server, ns):
    """nginx's log of all requests until now: it writes a line when the answer is already out."""
    mark = f"/mark-{time.monotonic_ns()}"
    L.command(L.inside(ns, ["curl", "-s", "-o", "/dev/null", f"http://127.0.0.1:{HTTP}{mark}"]))
    L.wait_for("nginx's log", lambda: mark in server.access_log.read_text())
    return [line for line in server.access_log.read_text().splitlines() if "/mark-" not in line]


def sshd(lab):
    """Logs in with lab's key; the host's keys, users' files and configuration are not used."""
    base = L.TMP / "sshd"
    base.mkdir(mode=0o755)
    for name in ("host", "user"):
        L.command(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", base / name])
    (base / "authorized").write_bytes((base / "user.pub").read_bytes())
    host_key = (base / "host.pub").read_text()
    (base / "known").write_text("".join(f"{a} {host_key}" for a in (L.SERVER, L.SERVER6)))
    (base / "config").write_text(f"""
ListenAddress {L.SERVER}:{SSH}
ListenAddress [{L.SERVER6}]:{SSH}
HostKey {base}/host
PidFile {base}/pid
AuthorizedKeysFile {base}/authorized
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
SetEnv SHLVL=2
PrintMotd no
PrintLastLog no
""")
    server = lab.start("server", ["/usr/sbin/sshd", "-D", "-e", "-f", base / "config"])
    server.wait_for_listeners(SSH)
    # -F none: not the host's /etc/ssh/ssh_config either
    server.client = ["ssh", "-F", "none", "-i", base / "user", "-o",
                     f"UserKnownHostsFile={base}/known", "-o", "IdentitiesOnly=yes",
                     "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"]
    return server


def redis(lab):
    server = lab.start("server", ["redis-server", "--bind", L.SERVER, L.SERVER6, "--port", REDIS,
                                  "--save", "", "--appendonly", "no", "--protected-mode", "no",
                                  "--dir", L.TMP])
    server.wait_for_listeners(REDIS)
    return server


def git_repository(www):
    """A bare repository below www, for both of git's http protocols; returns its head."""
    work, bare = L.TMP / "git-work", www / "repo.git"
    git = ["git", "-C", work, "-c", "user.name=Lab", "-c", "user.email=lab@example.net"]
    L.command(["git", "init", "-q", "-b", "main", work])
    for number in range(5):
        (work / f"file{number}").write_bytes(random_bytes(50000, number))
        L.command(git + ["add", "."])
        L.command(git + ["commit", "-q", "-m", f"change {number}"])
    L.command(["git", "clone", "-q", "--bare", work, bare])
    L.command(["git", "-C", bare, "update-server-info"])
    return L.command(git + ["rev-parse", "HEAD"]).strip()


def git_http(lab, www):
    """git's smart protocol: git-http-backend behind Python's http server."""
    server = lab.start("server", ["/usr/bin/python3", "-B", __file__, www, GIT], name="git_http")
    server.wait_for_listeners(GIT)
    return server


def nowhere(lab):
    """The destinations that do not answer, or only a router does. (Not `ip route add unreachable`:
    the kernel sends no more than one ICMP a second for those.)"""
    L.sysctl("server", net__ipv4__ip_forward=1, net__ipv4__icmp_ratelimit=0,
             net__ipv6__conf__all__forwarding=1, net__ipv6__icmp__ratelimit=0)
    for family, prefix, via in (("-4", "10.0.0.0/12", L.SERVER), ("-6", "fd00::/12", L.SERVER6)):
        L.command(["ip", "-n", "converter", family, "route", "add", prefix, "via", via])
    reject = ["-j", "REJECT", "--reject-with"]
    for command, address, *target in (
            ("iptables", UNREACHABLE, *reject, "icmp-host-unreachable"),
            ("iptables", PROHIBITED, *reject, "icmp-admin-prohibited"),
            ("iptables", NO_PORT, *reject, "icmp-port-unreachable"),
            ("iptables", MUTE, "-j", "DROP"),
            ("ip6tables", UNREACHABLE6, *reject, "icmp6-addr-unreachable"),
            ("ip6tables", PROHIBITED6, *reject, "icmp6-adm-prohibited"),
            ("ip6tables", NO_PORT6, *reject, "icmp6-port-unreachable"),
            ("ip6tables", MUTE6, "-j", "DROP")):
        L.command(L.inside("server", [command, "-A", "FORWARD", "-d", address, *target]))


class GitHandler(http.server.BaseHTTPRequestHandler):
    """git-http-backend."""

    def answer(self):
        url = urllib.parse.urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        environment = {
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": sys.argv[1], "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command, "PATH_INFO": url.path, "QUERY_STRING": url.query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(length),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
        }
        done = subprocess.run(["git", "http-backend"], env=environment, check=True,
                              input=self.rfile.read(length), stdout=subprocess.PIPE)
        head, body = done.stdout.split(b"\r\n\r\n", 1)
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer


class GitServer(http.server.ThreadingHTTPServer):
    """IPv4 and IPv6."""
    address_family = socket.AF_INET6


if __name__ == "__main__":
    GitServer(("::", int(sys.argv[2])), GitHandler).serve_forever()

# SPDX-License-Identifier: MIT
"""A CA of our own, and two HTTPS servers in the server's namespace: nginx, and one that misbehaves.

Run as a program this is the latter:  https.py ADDRESS PORT CERT KEY
"""
import socketserver
import ssl
import sys
import time

SITE, OTHER_CA, OTHER_NAME, EXPIRED, ODD = 443, 4431, 4432, 4433, 4434

NGINX = """
daemon off; master_process off; worker_processes 1;
pid {dir}/pid; error_log {dir}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log {dir}/access.log combined;
    default_type text/plain;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/t1; fastcgi_temp_path {dir}/t2;
    uwsgi_temp_path {dir}/t3; scgi_temp_path {dir}/t4;
    root {dir}/www;
    server {{ listen 80; }}
    server {{
        listen {site} ssl http2;
        ssl_certificate {dir}/good.pem; ssl_certificate_key {dir}/good.key;
        location /no-etag/ {{ alias {dir}/www/; etag off; }}
        location /blind/ {{ alias {dir}/www/; etag off; if_modified_since off;
                            add_header Last-Modified ""; }}
        location = /moved {{ return 302 /convert.conf; }}
        location = /to-http {{ return 302 http://$host/convert.conf; }}
        location = /to-file {{ return 302 file:///etc/hostname; }}
        location = /loop {{ return 302 /loop; }}
        location ~ ^/hop/(.*)$ {{ return 302 /$1; }}
        location = /empty {{ return 200 ""; }}
        location = /nothing {{ return 204; }}
        location = /304 {{ return 304; }}
        location /slowly/ {{ alias {dir}/www/; limit_rate 10; }}
    }}
    {others}
}}
"""

OTHER = """server {{ listen {port} ssl; ssl_certificate {dir}/{name}.pem;
                    ssl_certificate_key {dir}/{name}.key; }}"""

CA = """
[ca]
default_ca = d
[d]
database = {dir}/index
new_certs_dir = {dir}
rand_serial = yes
default_md = sha256
policy = p
copy_extensions = copy
unique_subject = no
[p]
commonName = supplied
"""


def authority(run, dir, name):
    run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         f"/CN={name}", "-keyout", dir / f"{name}.key", "-out", dir / f"{name}.pem"])


def certificate(run, dir, name, alt, ca="ca", dates=("20200101000000Z", "20400101000000Z")):
    run(["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-addext",
         f"subjectAltName={alt}", "-keyout", dir / f"{name}.key", "-out", dir / f"{name}.csr"])
    run(["openssl", "ca", "-batch", "-config", dir / "ca.conf", "-cert", dir / f"{ca}.pem",
         "-keyfile", dir / f"{ca}.key", "-startdate", dates[0], "-enddate", dates[1],
         "-in", dir / f"{name}.csr", "-out", dir / f"{name}.pem", "-notext"])


def start(lab, L):
    """Returns the running nginx: .www, .ca, .access_log."""
    dir = L.TMP / "https"
    (dir / "www").mkdir(parents=True)
    (dir / "index").touch()
    (dir / "ca.conf").write_text(CA.format(dir=dir))
    authority(L.command, dir, "ca")
    authority(L.command, dir, "stranger")
    address = f"IP:{L.SERVER},DNS:server.lab"
    certificate(L.command, dir, "good", address)
    certificate(L.command, dir, "other-ca", address, ca="stranger")
    certificate(L.command, dir, "other-name", "DNS:elsewhere.lab")
    certificate(L.command, dir, "expired", address, dates=("20200101000000Z", "20210101000000Z"))
    others = "\n".join(OTHER.format(port=port, dir=dir, name=name) for port, name in
                       ((OTHER_CA, "other-ca"), (OTHER_NAME, "other-name"), (EXPIRED, "expired")))
    config = dir / "nginx.conf"
    as_root = "user root;\n" if L.os.geteuid() == 0 else ""
    config.write_text(as_root + NGINX.format(dir=dir, site=SITE, others=others))
    server = lab.start("server", ["nginx", "-c", config, "-e", dir / "error.log"])
    server.wait_for_listeners(80, SITE, OTHER_CA, OTHER_NAME, EXPIRED)
    odd = lab.start("server", ["/usr/bin/python3", "-B", __file__, L.SERVER, ODD,
                               dir / "good.pem", dir / "good.key"], name="odd-https")
    odd.wait_for_listeners(ODD)
    server.www, server.ca, server.access_log = dir / "www", dir / "ca.pem", dir / "access.log"
    return server


# ------------------------------------------------------------------- the one that misbehaves

BODY = b"[converter odd]\naddress = 192.0.2.9\n"


class Odd(socketserver.StreamRequestHandler):
    def handle(self):
        path = self.rfile.readline().split()[1].decode()
        while self.rfile.readline().strip():
            pass
        getattr(self, path.strip("/").replace("-", "_"))()

    def head(self, *lines):
        self.wfile.write("\r\n".join(("HTTP/1.1 200 OK", "Connection: close", *lines, "", "")
                                     ).encode())

    def stalled(self):
        """The beginning, and then nothing."""
        self.head("Content-Length: 1000")
        self.wfile.write(BODY)
        time.sleep(60)

    def mute(self):
        time.sleep(60)

    def truncated(self):
        self.head("Content-Length: 1000")
        self.wfile.write(BODY)

    def gone(self):
        """A page that is cut short, and no file."""
        self.wfile.write(b"HTTP/1.1 410 Gone\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n<html>")

    def truncated_chunks(self):
        self.head("Transfer-Encoding: chunked")
        self.wfile.write(b"%x\r\n%s\r\n" % (len(BODY), BODY))

    def chunks(self):
        self.truncated_chunks()
        self.wfile.write(b"0\r\n\r\n")

    def unsized(self):
        """Nobody can tell whether that was all."""
        self.head()
        self.wfile.write(BODY)

    def endless(self):
        self.head("Transfer-Encoding: chunked")
        for _ in range(100000):
            self.wfile.write(b"1000\r\n" + b"#" * 4096 + b"\r\n")

    def late(self):
        """In pieces, for a second."""
        self.head(f"Content-Length: {len(BODY) + 400}", 'ETag: "late"')
        for _ in range(4):
            self.wfile.write(b"#" * 99 + b"\n")
            time.sleep(0.25)
        self.wfile.write(BODY)

    def strange_headers(self):
        self.head(f"Content-Length: {len(BODY)}", 'ETag: "' + "x" * 3000 + '"',
                  "Last-Modified: \x1b[31mred")
        self.wfile.write(BODY)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    context = None

    def finish_request(self, request, client_address):
        try:
            with self.context.wrap_socket(request, server_side=True) as tls:
                super().finish_request(tls, client_address)
                tls.unwrap()
        except OSError:
            pass


if __name__ == "__main__":
    Server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    Server.context.load_cert_chain(sys.argv[3], sys.argv[4])
    Server((sys.argv[1], int(sys.argv[2])), Odd).serve_forever()

#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Which connections are converted, as the server sees it and the log says it."""
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers


def setup(lab):
    servers.nginx(lab)
    lab.converter()


class Policy(L.TestCase):
    def who(self, shim, address=L.SERVER, program=("curl", "-sS")):
        url = f"http://[{address}]/who" if ":" in address else f"http://{address}/who"
        r = self.lab.run([*program, url], shim=shim)
        self.assertEqual((r.code, r.err), (0, ""), r)
        return r.out.decode().strip(), r.log

    def converted(self, *args, **more):
        seen, log = self.who(*args, **more)
        self.assertIn(seen, (L.ROUTER, L.ROUTER6), log)
        self.assertRegex(log, r"info: converted .*: connected, \w+\n\Z")

    def direct(self, why, *args, **more):
        seen, log = self.who(*args, **more)
        self.assertIn(seen, (L.CLIENT, L.CLIENT6), log)
        self.assertRegex(log, rf"info: direct .*: {why}\n\Z")

    def test_rules(self):
        first = self.lab.config(policy="rule = convert to 10.2.0.2\nrule = direct")
        self.converted(first)
        self.direct("rule in line 7", first, L.SERVER6)
        for rule in ("direct to 10.2.0.0/24", "direct port 79-81", "direct app curl,wget",
                     "direct to 10.2.0.2 port 80 app curl"):
            self.direct("rule in line 6", self.lab.config(policy=f"rule = {rule}"))
        for rule in ("direct to 10.2.1.0/24", "direct port 81", "direct app wget",
                     "direct to fd02::/16", "direct to 10.2.0.2 port 80 app wget"):
            self.converted(self.lab.config(policy=f"rule = {rule}"))

    def test_program_names(self):
        shim = self.lab.config(policy="rule = direct app wget")
        self.direct("rule in line 6", shim, program=("wget", "--no-config", "-qO-"))
        self.converted(shim)

    def test_from_and_interface(self):
        both = [L.CONVERTER, L.CONVERTER6]
        for bound in ("from = 10.1.0.0/24", "interface = c0",
                      "from = 192.0.2.0/24\nfrom = 10.1.0.1/32", "interface = wwan0\ninterface = c0",
                      "from = 10.1.0.0/24\ninterface = c0"):
            self.converted(self.lab.config(bound, address=both))
        for bound in ("from = 10.2.0.0/24", "interface = wwan0", "interface = lo",
                      "from = 10.1.0.0/24\ninterface = wwan0"):
            self.direct(".*", self.lab.config(bound, address=both))
        for server in L.SERVER, L.SERVER6:
            self.converted(self.lab.config("from = fd01::/64", address=both), server)

    def test_the_first_converter_that_may_be_used(self):
        def two(first, second):
            text = ["[converter a]", *first, "[converter b]", *second, "[policy]",
                    "fallback = none", "[log]"]
            log = self.lab.file("log")
            text.append(f"file = {log}")
            return {"CONVERT_CONF": str(self.lab.file("conf", "\n".join(text) + "\n")),
                    "LAB_LOG": str(log)}
        good = [f"address = {L.CONVERTER}"]
        bad = ["address = 10.1.0.77"]
        _, log = self.who(two(bad + ["interface = wwan0"], good))
        self.assertIn("(b)", log)
        _, log = self.who(two(good, bad))
        self.assertIn("(a)", log)

    def test_built_in_exclusions(self):
        servers.nginx(self.lab, ns="client", v4="127.0.0.1", v6="::1")
        shim = self.lab.config(address=[L.CONVERTER, L.CONVERTER6])
        for address in ("127.0.0.1", "::1", "127.1.2.3"):
            seen, log = self.who(shim, address)
            self.assertIn("direct", log)
            self.assertNotIn("converted", log)
        # other services of the converter's host
        servers.nginx(self.lab, ns="converter", v4=L.CONVERTER, v6=L.CONVERTER6)
        for address, client in ((L.CONVERTER, L.CLIENT), (L.CONVERTER6, L.CLIENT6)):
            seen, log = self.who(self.lab.config(address=[L.CONVERTER, L.CONVERTER6]), address)
            self.assertEqual(seen, client, log)
        # an address with a scope
        r = self.lab.run(["sh", "-c", "curl -sS http://[$(ip -6 addr show dev c0 scope link | "
                          "sed -n 's/.*inet6 \\([^/]*\\).*/\\1/p')%25c0]/who"],
                         shim=self.lab.config())
        self.assertEqual(r.code, 0, r)
        self.assertNotIn("converted", r.log)

    def test_only_an_ipv6_converter_for_an_ipv4_socket(self):
        shim = self.lab.config(address=L.CONVERTER6)
        self.converted(shim)
        self.converted(shim, L.SERVER6)

    def test_ten_thousand_rules(self):
        rules = "\n".join(f"rule = direct to 172.{n // 256 % 256}.{n % 256}.0/24 port {1 + n % 9999}"
                          for n in range(10000))
        self.converted(self.lab.config(policy=rules))
        few = self.lab.run(["curl", "-sS", f"http://{L.SERVER}/who"], shim=self.lab.config())
        many = self.lab.run(["curl", "-sS", f"http://{L.SERVER}/who"],
                            shim=self.lab.config(policy=rules))
        self.note(f"curl as a whole: {1000 * few.seconds:.0f} ms with no rule, "
                  f"{1000 * many.seconds:.0f} ms with ten thousand")


if __name__ == "__main__":
    L.main(setup)

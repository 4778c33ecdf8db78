"""The two servers: Beffroi as it was built, and Synapse from PyPI.

Both listen on the loopback address with certificates of an authority that the
run makes, and are called localhost:PORT, so each finds the other as any server
finds another.
"""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request

START = 60  # seconds that a server may take to answer
SECRET = "interop"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def make_ca(folder):
    """Makes an authority and a certificate for localhost."""

    def openssl(*args):
        subprocess.run(("openssl",) + args, cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "60", "-keyout", "ca.key", "-out", "ca.pem",
            "-subj", "/CN=interop", "-addext", "basicConstraints=critical,CA:TRUE")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "tls.key", "-out", "tls.csr", "-subj", "/CN=localhost")
    with open(os.path.join(folder, "ext"), "w", encoding="utf-8") as f:
        f.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "tls.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "60",
            "-extfile", "ext", "-out", "tls.crt")


class Server:
    """One server that can be stopped and started."""

    def __init__(self, folder, label):
        self.folder, self.label = folder, label
        self.client_port, self.port = free_port(), free_port()
        self.name = f"localhost:{self.port}"
        self.url = f"http://127.0.0.1:{self.client_port}"
        self.data = os.path.join(folder, label)
        os.makedirs(self.data)
        self.process = None

    def path(self, name):
        return os.path.join(self.folder, name)

    def start(self):
        with open(self.path(self.label + ".log"), "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.data)
        end = time.monotonic() + START
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.label} ended with {self.process.returncode}")
            try:
                with urllib.request.urlopen(self.url + "/_matrix/client/versions", timeout=5):
                    return
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def stop(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def log(self):
        with open(self.path(self.label + ".log"), encoding="utf-8", errors="replace") as f:
            return f.read()


class Beffroi(Server):
    """The server under test, with a policy document that names both."""

    def __init__(self, folder, binary):
        super().__init__(folder, "beffroi")
        self.binary, self.version = binary, 0
        self.config = self.path("beffroi.yaml")
        self.policy = self.path("policy.yaml")

    def configure(self, partners):
        self.allow(partners)
        config = {
            "server_name": self.name, "data": self.data, "development": True, "policy": self.policy,
            "policy_impact": 100,  # the stories close a peer out by a change of the file alone
            "trust_ca": self.path("ca.pem"), "public_url": self.url,
            "client": {"listen": f"127.0.0.1:{self.client_port}"},
            "federation": {"listen": f"127.0.0.1:{self.port}", "allow_ranges": ["127.0.0.0/8", "::1/128"]},
            "tls": {"cert": self.path("tls.crt"), "key": self.path("tls.key")},
            "metrics": {"listen": ""}, "registration": {"secret": SECRET}, "log": {"level": "debug"},
        }
        write_json(self.config, config)

    def allow(self, partners):
        """Puts a policy document in force that knows these servers."""
        self.version += 1
        organisations = [{"id": "home", "name": {"en": "Home"}, "class": "government", "homeservers": [{"name": self.name}]}]
        for i, name in enumerate(partners):
            organisations.append({"id": f"partner{i}", "name": {"en": "Partner"}, "class": "government",
                                  "homeservers": [{"name": name}]})
        write_json(self.policy, {
            "version": self.version, "issuer": "interop", "organisations": organisations,
            "federation": {"default": "deny"}, "rooms": {"public": {"federate": True}, "encrypt": []},
        })

    def command(self):
        return [self.binary, "serve", "--config", self.config]

    def run(self, *args):
        """Runs another command of the binary with the same configuration."""
        command = [self.binary, *args, "--config", self.config]
        done = subprocess.run(command, capture_output=True, text=True, timeout=START, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout


class Synapse(Server):
    """A peer that nobody here wrote."""

    def __init__(self, folder, python, label="synapse"):
        super().__init__(folder, label)
        self.python = python
        self.config = self.path(label + ".yaml")

    def configure(self, whitelist=None):
        fast = {"per_second": 10000, "burst_count": 10000}
        log = {"version": 1, "formatters": {"f": {"format": "%(asctime)s %(name)s %(levelname)s %(request)s %(message)s"}},
               "handlers": {"h": {"class": "logging.StreamHandler", "formatter": "f"}},
               "root": {"level": "INFO", "handlers": ["h"]}}
        write_json(self.path("log.yaml"), log)
        config = {
            "server_name": self.name, "report_stats": False, "log_config": self.path("log.yaml"),
            "signing_key_path": os.path.join(self.data, "signing.key"), "media_store_path": os.path.join(self.data, "media"),
            "database": {"name": "sqlite3", "args": {"database": os.path.join(self.data, "homeserver.db")}},
            "listeners": [
                {"port": self.client_port, "bind_addresses": ["127.0.0.1"], "type": "http",
                 "resources": [{"names": ["client"]}]},
                {"port": self.port, "bind_addresses": ["127.0.0.1"], "type": "http", "tls": True,
                 "resources": [{"names": ["federation"]}]},
            ],
            "tls_certificate_path": self.path("tls.crt"), "tls_private_key_path": self.path("tls.key"),
            "federation_custom_ca_list": [self.path("ca.pem")], "ip_range_blacklist": [],
            "trusted_key_servers": [], "registration_shared_secret": SECRET, "macaroon_secret_key": SECRET, "form_secret": SECRET,
            "allow_public_rooms_over_federation": True, "allow_public_rooms_without_auth": True,
            "enable_room_list_search": True, "allow_guest_access": False,
            "room_list_publication_rules": [{"action": "allow"}],
            "caches": {"sync_response_cache_duration": "0s"},  # or a first sync is repeated for two minutes
            "federation": {"destination_min_retry_interval": "1s", "destination_max_retry_interval": "2s",
                           "destination_retry_multiplier": 1},
            "rc_message": fast, "rc_registration": fast, "rc_joins_per_room": fast, "rc_key_requests": fast,
            "rc_login": {"address": fast, "account": fast, "failed_attempts": fast},
            "rc_joins": {"local": fast, "remote": fast},
            "rc_invites": {"per_room": fast, "per_user": fast, "per_issuer": fast},
            "rc_federation": {"window_size": 1000, "sleep_limit": 100000, "sleep_delay": 1, "reject_limit": 100000, "concurrent": 50},
        }
        if whitelist is not None:
            config["federation_domain_whitelist"] = whitelist
        write_json(self.config, config)

    def command(self):
        return [self.python, "-m", "synapse.app.homeserver", "--config-path", self.config]

    def generate_keys(self):
        subprocess.run(self.command() + ["--generate-keys"], cwd=self.data, check=True, capture_output=True)


def write_json(path, value):
    """Replaces a file at once: servers watch some of them."""
    with open(path + ".new", "w", encoding="utf-8") as f:
        json.dump(value, f, indent=1)
    os.rename(path + ".new", path)

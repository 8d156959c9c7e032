"""How the containers of a cluster reach each other without Docker.

As root, with iproute2: in network namespaces, joined by one bridge for each network of
compose.yaml, under its host names and ports. So a container reaches what it would reach in Docker,
and nothing else. Otherwise all listen on 127.0.0.1, on ports of their own.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

LOCALHOST = "127.0.0.1"
#: who listens where in compose.yaml
PORTS = {
    "postgres": 5432,
    "mlflow": 5000,
    "gcs": 6379,
    "ray-head": 8265,
    "ray-worker-1": 52365,
    "ray-worker-2": 52365,
    "service": 8400,
}
#: networks by container, each with its options: {"ray-head": {"back": {}, "ray": {…}}, …}
Links = Mapping[str, Mapping[str, Mapping[str, Any]]]


class Network(Protocol):
    """Where the containers of a cluster are. Its state can be written as JSON."""

    state: dict[str, Any]

    def up(self) -> None:
        """Make what is not there yet."""

    def down(self) -> None:
        """Remove what `up` has made."""

    def enter(self, name: str, user: str | None = None) -> list[str]:
        """Return what a command in a container begins with, as another user if one is given."""

    def host(self, name: str) -> str:
        """Return where this machine reaches a container."""

    def port(self, name: str) -> int:
        """Return the port on which a container listens."""

    def here(self, text: str) -> str:
        """Return a part of compose.yaml with the hosts and ports that hold here."""

    def ray_options(self, name: str) -> list[str]:
        """Return what a node of Ray must be told besides."""

    def set_cable(self, name: str, is_in: bool) -> None:
        """Pull a container's cables, or plug them in again."""


def make_network(links: Links) -> Network:
    """Return a new network, of namespaces where the machine allows them."""
    if _can_isolate():
        return Namespaces(links, _free_subnets())
    return Loopback({"ports": dict(zip(PORTS, free_ports(len(PORTS)), strict=True))})


def read_network(links: Links, state: dict[str, Any]) -> Network:
    """Return the network whose state this is."""
    return Namespaces(links, state) if "subnet" in state else Loopback(state)


class Loopback:
    """All containers on 127.0.0.1, each on ports of its own."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state
        self._ports: dict[str, int] = state["ports"]

    def up(self) -> None:
        """See Network."""

    def down(self) -> None:
        """See Network."""

    def enter(self, name: str, user: str | None = None) -> list[str]:
        """See Network."""
        return as_user(user)

    def host(self, name: str) -> str:
        """See Network."""
        return LOCALHOST

    def port(self, name: str) -> int:
        """See Network."""
        return self._ports[name]

    def here(self, text: str) -> str:
        """See Network."""
        ports = self._ports
        for there, here in (
            ("postgres:5432", f"{LOCALHOST}:{ports['postgres']}"),
            ("mlflow:5000", f"{LOCALHOST}:{ports['mlflow']}"),
            ("ray-head:6379", f"{LOCALHOST}:{ports['gcs']}"),
            ("ray-head:8265", f"{LOCALHOST}:{ports['ray-head']}"),
            ("service:8400", f"{LOCALHOST}:{ports['service']}"),
            ("0.0.0.0", LOCALHOST),
            *((f"port={PORTS[each]}", f"port={port}") for each, port in ports.items()),
        ):
            text = text.replace(there, here)
        return text

    def ray_options(self, name: str) -> list[str]:
        """See Network; nodes of one address must not share ports."""
        agent, grpc, runtime, metrics, client = free_ports(5)
        agent = agent if name == "ray-head" else self._ports[name]
        return [
            f"--node-ip-address={LOCALHOST}",
            f"--dashboard-agent-listen-port={agent}",
            f"--dashboard-agent-grpc-port={grpc}",
            f"--runtime-env-agent-port={runtime}",
            f"--metrics-export-port={metrics}",
            *([f"--ray-client-server-port={client}"] if name == "ray-head" else []),
        ]

    def set_cable(self, name: str, is_in: bool) -> None:
        """See Network."""
        raise SystemExit(f"{name} has no cable: there are no network namespaces")


class Namespaces:
    """A namespace for each container, a bridge for each network."""

    def __init__(self, links: Links, state: dict[str, Any]) -> None:
        self.state = state
        self._links = links
        self._networks = sorted({network for each in links.values() for network in each})

    def up(self) -> None:
        """See Network."""
        known = {each["name"] for each in _ip("netns", "list")}
        if self._space(next(iter(self._links))) in known:
            return
        for network in self._networks:
            bridge = self._bridge(network)
            _ip("link", "add", bridge, "type", "bridge")
            _ip("address", "add", f"{self._address(network)}/24", "dev", bridge)
            _ip("link", "set", bridge, "up")
            # Containers of different networks must not find each other through this machine.
            Path(f"/proc/sys/net/ipv4/conf/{bridge}/forwarding").write_text("0")
        for name in self._links:
            self._add(name)

    def down(self) -> None:
        """See Network."""
        known = {each["name"] for each in _ip("netns", "list")}
        for name in self._links:
            if self._space(name) in known:
                _ip("netns", "delete", self._space(name))
            shutil.rmtree(self._etc(name), ignore_errors=True)
        bridges = {each["ifname"] for each in _ip("link", "show")}
        for network in self._networks:
            if self._bridge(network) in bridges:
                _ip("link", "delete", self._bridge(network))

    def enter(self, name: str, user: str | None = None) -> list[str]:
        """See Network."""
        return ["ip", "netns", "exec", self._space(name), *as_user(user)]

    def host(self, name: str) -> str:
        """See Network."""
        return self._address(next(iter(self._links[name])), name)

    def port(self, name: str) -> int:
        """See Network."""
        return PORTS[name]

    def here(self, text: str) -> str:
        """See Network."""
        return text

    def ray_options(self, name: str) -> list[str]:
        """See Network."""
        return []

    def set_cable(self, name: str, is_in: bool) -> None:
        """See Network."""
        for network in self._links[name]:
            _ip("link", "set", self._cable(network, name), "up" if is_in else "down")

    def _add(self, name: str) -> None:
        space = self._space(name)
        _ip("netns", "add", space)
        _ip("-netns", space, "link", "set", "lo", "up")
        for network in self._links[name]:
            cable = self._cable(network, name)
            _ip("link", "add", cable, "type", "veth", "peer", "name", network, "netns", space)
            _ip("link", "set", cable, "master", self._bridge(network), "up")
            address = f"{self._address(network, name)}/24"
            _ip("-netns", space, "address", "add", address, "dev", network)
            _ip("-netns", space, "link", "set", network, "up")
        # As in Docker, programs find their own address by the way outside, which leads nowhere.
        gateway = self._address(self._way_out(name))
        _ip("-netns", space, "route", "add", "default", "via", gateway)
        self._etc(name).mkdir(parents=True)
        (self._etc(name) / "hosts").write_text(self._hosts(name))
        # No server of names is within reach, and programs would wait for one.
        (self._etc(name) / "resolv.conf").write_text(f"nameserver {LOCALHOST}\n")

    def _way_out(self, name: str) -> str:
        """Return the network of the default route, as Docker chooses it."""
        networks = self._links[name]
        return min(networks, key=lambda each: (-networks[each].get("gw_priority", 0), each))

    def _hosts(self, name: str) -> str:
        """Return the file of hosts: all that share a network, under this network's address."""
        own = self._address(self._way_out(name), name)
        lines = [f"{LOCALHOST} localhost", f"{own} {socket.gethostname()}"]
        for other, networks in self._links.items():
            shared = [network for network in networks if network in self._links[name]]
            lines += [f"{self._address(network, other)} {other}" for network in shared[:1]]
        return "\n".join(lines) + "\n"

    def _address(self, network: str, name: str | None = None) -> str:
        """Return a container's address on a network, or this machine's."""
        third = self.state["subnet"] + self._networks.index(network)
        number = 1 if name is None else 2 + list(self._links).index(name)
        return f"10.213.{third}.{number}"

    def _space(self, name: str) -> str:
        return f"hpsearch-{self.state['subnet']}-{name}"

    def _etc(self, name: str) -> Path:
        """Return the folder whose files take the place of /etc's in a namespace."""
        return Path("/etc/netns") / self._space(name)

    def _bridge(self, network: str) -> str:
        return f"hps{self.state['subnet']}-{network}"

    def _cable(self, network: str, name: str) -> str:
        """Return this machine's end of a cable; names of interfaces have at most 15 letters."""
        return f"hps{self.state['subnet']}-{network}-{list(self._links).index(name)}"


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind((LOCALHOST, 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def as_user(user: str | None) -> list[str]:
    """Return what a command begins with to run as another user, if this one is root."""
    if user is None or os.getuid() != 0:
        return []
    return ["setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups"]


def _can_isolate() -> bool:
    """Whether namespaces and bridges can be made."""
    if os.getuid() != 0 or shutil.which("ip") is None:
        return False
    tried = subprocess.run(
        ["unshare", "--net", "ip", "link", "add", "tried", "type", "bridge"], capture_output=True
    )
    return tried.returncode == 0


def _free_subnets() -> dict[str, Any]:
    """Return the state of a new network: the first of eight subnets that this machine lacks."""
    used = {
        address.get("local", "")
        for link in _ip("address", "show")
        for address in link["addr_info"]
    }
    thirds = {int(each.split(".")[2]) // 8 * 8 for each in used if each.startswith("10.213.")}
    return {"subnet": random.choice([each for each in range(0, 256, 8) if each not in thirds])}


def _ip(*arguments: str) -> list[Any]:
    done = subprocess.run(["ip", "-json", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    found: list[Any] = json.loads(done.stdout or "[]")
    return found

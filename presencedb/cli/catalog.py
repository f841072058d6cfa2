"""Every command of the command line: what it is for, how it is called, where its code is.

Help and shell completion work from this table alone, so that they load neither a client nor a server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One command.

    Attributes:
        section: the heading under which `presencedb --help` lists it.
        line: what it does, in one line.
        text: what else a newcomer should know; paragraphs are divided by empty lines.
        examples: lines to paste, each with what it is for.
        takes_ids: it takes ids as arguments, `-` among them for those on stdin.
    """

    name: str
    section: str
    line: str
    text: str = ""
    examples: tuple[tuple[str, str], ...]
    takes_ids: bool = False

    @property
    def module(self) -> str:
        """Where `run(settings, ids)` is."""
        return f"presencedb.cli.{self.name.replace('-', '_').replace(' ', '_')}"


_IDS: Final = (
    "An ID is a number or text. - reads ids from stdin, divided by blanks or newlines, any number of them. "
    "Ids that begin with a dash go after --."
)
_ENTRIES: Final = (
    Entry(
        name="serve",
        section="Servers",
        line="Run a node and the HTTP gateway in one process. Start here.",
        text="Prints one line on stdout once it serves, with the real ports: ready tcp=127.0.0.1:7411 http=127.0.0.1:7412. "
        "Logs go to stderr. SIGTERM and SIGINT let open requests finish; SIGHUP reads tokens, keys and certificates anew."
        "\n\nOne node uses one core. --nodes starts several, a router and a gateway, each a process, as cluster up does.",
        examples=(
            ("presencedb serve", "on 127.0.0.1, ports 7411 and 7412"),
            ("presencedb serve --ttl 60 --retention 30d", "offline after a minute, last seen for a month"),
            ("presencedb serve --config presencedb.toml", "options from a file"),
            ("presencedb serve --nodes 4 --replicas 1", "with processes for four cores, behind the same two ports"),
        ),
    ),
    Entry(
        name="node",
        section="Servers",
        line="Run a node alone: MessagePack-RPC over TCP or a Unix socket.",
        text="The same as serve without HTTP, for gateways that run elsewhere. With --membership it is a member of a "
        "cluster: the one of the list that --node-id names.",
        examples=(
            ("presencedb node --listen 127.0.0.1:7411 --unix /run/presencedb.sock", "TCP and a Unix socket"),
            ("presencedb node --listen 0.0.0.0:7411 --token-file tokens", "for other machines: with tokens"),
            (
                "presencedb node --membership static:cluster.toml --node-id n1 --data-dir n1 --cluster-token-file secret",
                "a member of a cluster",
            ),
        ),
    ),
    Entry(
        name="router",
        section="Servers",
        line="Run a router: a whole cluster behind one address.",
        text="It speaks a node's protocol and keeps no user; clients need not know that it is none. Any number of them may "
        "stand side by side. A cursor of watch or follow is good at the router that gave it.",
        examples=(
            ("presencedb router --membership static:cluster.toml", "on 127.0.0.1, port 7413"),
            (
                "presencedb router --membership static:cluster.toml --listen 0.0.0.0:7411 --token-file tokens",
                "for other machines",
            ),
        ),
    ),
    Entry(
        name="gateway",
        section="Servers",
        line="Run the HTTP gateway alone, in front of a node or router elsewhere.",
        examples=(
            ("presencedb gateway --url presence://10.0.0.5:7411 --token-file token", "plain HTTP on 127.0.0.1:7412"),
            ("presencedb gateway --http 0.0.0.0:443 --tls-cert cert.pem --tls-key key.pem --api-keys keys", "for everybody"),
        ),
    ),
    Entry(
        name="heartbeat",
        section="Users",
        line="Mark users alive.",
        text=_IDS,
        examples=(
            ("presencedb heartbeat 42 alice", "both are online from now on, for a ttl"),
            ("presencedb heartbeat --every 10s 42", "keeps 42 online until ^C"),
            ("presencedb heartbeat - < ids.txt", "as many as the file has"),
        ),
        takes_ids=True,
    ),
    Entry(
        name="offline",
        section="Users",
        line="Sign users off.",
        text=_IDS,
        examples=(
            ("presencedb offline 42", "at once"),
            ("presencedb offline --grace 12s 42", "unless another device of 42 beats within 12 seconds"),
        ),
        takes_ids=True,
    ),
    Entry(
        name="status",
        section="Users",
        line="Ask who is online: online, offline or unknown.",
        text=_IDS,
        examples=(
            ("presencedb status 42 alice", "a line for each"),
            ("presencedb status --json 42", '{"id": "42", "online": true}; null is unknown'),
            ("presencedb status - < friends.txt", "ids from a file"),
        ),
        takes_ids=True,
    ),
    Entry(
        name="last-seen",
        section="Users",
        line="Ask when users were last heard of.",
        text="The time of the last heartbeat or sign-off, in UTC, or a dash: never, or longer ago than --retention of the "
        f"server keeps.\n\n{_IDS}",
        examples=(("presencedb last-seen alice", "2026-01-31T12:00:00.250Z"),),
        takes_ids=True,
    ),
    Entry(
        name="watch",
        section="Users",
        line="Print users' statuses, and every change of them as it happens, until ^C.",
        text="First a line for each user, with a dash for the time and the reason known; then one for each change. It goes "
        "on over lost connections and restarts of the server: what changed in a gap is printed like a first status. With "
        f"--json each line carries a cursor; --cursor goes on after it.\n\n{_IDS}",
        examples=(
            ("presencedb watch 42 alice", "time, id, online or offline, and why"),
            ("presencedb watch --json - < friends.txt", "ids from a file, up to 10,000"),
        ),
        takes_ids=True,
    ),
    Entry(
        name="count",
        section="Everybody",
        line="Count the users online.",
        examples=(("presencedb count", "one number"),),
    ),
    Entry(
        name="online",
        section="Everybody",
        line="List the users online.",
        text="Who is online all the while is listed exactly once. Characters that would disturb a terminal are written as "
        "escapes; --json has every id exactly.",
        examples=(
            ("presencedb online", "an id a line"),
            ("presencedb online --limit 10 --json", "ten of them, as JSON"),
        ),
    ),
    Entry(
        name="follow",
        section="Everybody",
        line="Print every change of status as it happens, until ^C.",
        text="With --json each line carries a cursor; --cursor goes on after it. Changes come in portions with a cursor "
        "each: in the middle of one it is the cursor before, so that going on there repeats a few changes and never leaves "
        "one out.\n\n"
        "It goes on over lost connections. It ends with status 1 when changes were missed: the server was started again, "
        "its warm-up (--warm-up of serve and node) ended, or what reads here was too slow. Then run it again.",
        examples=(
            ("presencedb follow", "time, id, online or offline, and why"),
            ("presencedb follow --json | jq -r 'select(.online == false).id'", "who went offline"),
        ),
    ),
    Entry(
        name="info",
        section="The server",
        line="Look inside a server: users, memory, connections, lateness, stalls.",
        examples=(("presencedb info", "a line for each counter"), ("presencedb info --json", "for a program")),
    ),
    Entry(
        name="ping",
        section="The server",
        line="See whether a server answers, and how fast.",
        examples=(("presencedb ping --url presence://10.0.0.5:7411", "exit status 0 if it does"),),
    ),
    Entry(
        name="cluster init",
        section="Clusters",
        line="Write the list of members of a new cluster.",
        text="A TOML file of which each node and router gets a copy. To change the cluster, edit it, raise its epoch, copy "
        "it to all of them, and send them SIGHUP.",
        examples=(
            (
                "presencedb cluster init --nodes n1=10.0.0.1:7411,n2=10.0.0.2:7411,n3=10.0.0.3:7411*200",
                "n3 gets twice as many users",
            ),
        ),
    ),
    Entry(
        name="cluster up",
        section="Clusters",
        line="Run a whole cluster on this machine: nodes, a router and a gateway, each a process.",
        text="For trying out, and for all cores of one machine. Prints a line for each process once all of them serve: "
        "ready node=n1 pid=4711 tcp=127.0.0.1:41237. Clients talk to the router. It ends them all on SIGTERM and SIGINT; "
        "none of them outlives it, however it ends. With --data-dir it is the same cluster again the next time.",
        examples=(
            ("presencedb cluster up", "three nodes; the router and HTTP on 127.0.0.1, ports 7411 and 7412"),
            ("presencedb cluster up --nodes 5 --replicas 3 --restart", "what dies is started again"),
        ),
    ),
    Entry(
        name="cluster status",
        section="Clusters",
        line="Show how every member of a cluster is.",
        text="A line for each member: its name, address, state, epoch, users that it keeps, those of them who are online, "
        "and how many of its slots it knows all about, of how many. The state is up, syncing (it does not know all of its "
        "slots yet), or down: whoever was asked could not reach it. A user is kept by several members, and counted at each.",
        examples=(
            ("presencedb cluster status --url presence://127.0.0.1:7411", "by way of a router or any member"),
            ("presencedb cluster status --json", "for a program"),
        ),
    ),
    Entry(
        name="cluster members",
        section="Clusters",
        line="List the members of a cluster.",
        text="A line for each member: its name, address and weight. Unlike cluster status it needs no right but read.",
        examples=(("presencedb cluster members --json", "a line of JSON for each"),),
    ),
)
CATALOG: Final = {entry.name: entry for entry in _ENTRIES}
"""Every command, by name, in the order of the help."""
FAMILIES: Final = {"cluster": "Found, run and look at clusters."}
"""What the commands that share a first word are about."""

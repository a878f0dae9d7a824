#: title = "Tries loopback and documentation addresses from inside its own network namespace"
#: kind = "containment"
#: base = "none"
#: patterns = [20]
#: expect = "contained"
#: by = []
#: network = true
#: note = "Never run in the `host` runtime."
#: fast = true
import os, socket

if os.environ["RANK"] == "0":
    for address in (("127.0.0.1", 22), ("192.0.2.1", 80), ("198.51.100.1", 443), ("203.0.113.1", 53)):
        try:
            socket.create_connection(address, timeout=2)
            print("ESCAPED: reached", address, flush=True)
        except OSError as e:
            print("refused:", address, e, flush=True)
    for address in (("2001:db8::1", 80),):
        try:
            socket.create_connection(address, timeout=2)
            print("ESCAPED: reached", address, flush=True)
        except OSError as e:
            print("refused:", address, e, flush=True)
    try:
        print("ESCAPED: resolved", socket.getaddrinfo("example.org", 80), flush=True)
    except OSError as e:
        print("no names:", e, flush=True)

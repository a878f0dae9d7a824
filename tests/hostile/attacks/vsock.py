#: title = "Opens sockets that no network namespace covers: to the hypervisor, to the kernel's cryptography, raw ones"
#: kind = "containment"
#: base = "none"
#: patterns = [20]
#: expect = "contained"
#: by = []
#: status = "completed"
#: note = "Every family and netlink protocol that the kernel has numbers for; vsock is bound, never connected."
#: fast = true
import os, socket

ALLOWED = {(1, 0), (2, 0), (10, 0), (16, 0)}
if os.environ["RANK"] == "0":
    for family in (40, *range(64)):
        for kind in (1, 2, 3, 5):
            for protocol in range(32) if family == 16 else (0, 1, 132, 255, 262):
                if (family, protocol) in ALLOWED and not (family in (2, 10) and kind == 3):
                    continue
                if family == 1 and protocol == 1:
                    continue  # PF_UNIX is a protocol of unix sockets, too
                try:
                    s = socket.socket(family, kind, protocol)
                except OSError:
                    continue
                print("ESCAPED: opened socket", family, kind, protocol, flush=True)
                if family == 40:
                    s.bind((0xFFFFFFFF, 51516))
    print("asked", flush=True)

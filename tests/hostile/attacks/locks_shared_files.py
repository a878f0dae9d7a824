#: title = "Locks every shared file and directory that it can read, and keeps the locks to its end"
#: kind = "containment"
#: base = "none"
#: patterns = [14, 19]
#: expect = "contained"
#: by = []
#: status = "completed"
#: note = "The kit takes no lock on what a guest sees. Guests that share shards can see each other's locks."
#: fast = true
import fcntl, os

held = []
if os.environ["RANK"] == "0":
    for root in ("/input", "/workspace/data", "/usr/bin", "/etc"):
        for folder, _, files in os.walk(root):
            for path in (folder, *(os.path.join(folder, f) for f in files)):
                try:
                    fd = os.open(path, os.O_RDONLY)
                except OSError:
                    continue
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    held.append(fd)
                except OSError:
                    # nobody but the kit and this guest sees its submission
                    who = "ESCAPED: the kit" if path.startswith("/input") else "another guest"
                    print(who, "holds a lock on", path, flush=True)
    print("locked", len(held), flush=True)

#: title = "Plants symbolic links, FIFOs and devices where the kit might look"
#: kind = "containment"
#: base = "none"
#: patterns = [19]
#: expect = "contained"
#: by = []
#: status = "completed"
#: fast = true
#: note = ""
import os, stat

if os.environ["RANK"] == "0":
    for place in ("guest.log", "result.json", "audit", ".scratch"):
        os.symlink("/etc/shadow", place)
    for place in ("stamps", "/tmp/fifo"):
        try:
            os.mkfifo(place)
        except OSError as e:
            print("no FIFO:", e, flush=True)
    os.makedirs("a/b")
    os.symlink("../..", "a/b/c")
    try:
        os.mknod("disk", stat.S_IFBLK | 0o666, os.makedev(8, 0))
        print("ESCAPED: made a device", flush=True)
    except OSError as e:
        print("no device:", e, flush=True)
    try:
        open("/etc/shadow").read()
        print("ESCAPED: read the password file", flush=True)
    except OSError as e:
        print("refused:", e, flush=True)

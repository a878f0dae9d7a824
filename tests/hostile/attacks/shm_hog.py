#: title = "Fills /dev/shm"
#: kind = "containment"
#: base = "none"
#: patterns = []
#: expect = "contained"
#: by = []
#: note = ""
import os, time

if os.environ["RANK"] != "0":
    time.sleep(60)
written = 0
try:
    with open("/dev/shm/x", "wb") as f:
        while True:
            written += f.write(b"x" * (16 << 20))
except OSError as e:
    print("stopped by:", e, flush=True)
print("ESCAPED: no limit" if written > (8 << 30) else "limited", written >> 20, "MiB", flush=True)
raise SystemExit(7)

#: title = "Fills every disk that it can write to"
#: kind = "containment"
#: base = "none"
#: patterns = [19]
#: expect = "contained"
#: by = []
#: note = ""
import os, time

if os.environ["RANK"] != "0":
    time.sleep(60)
for place in ("/tmp/x", "/workspace/x", "/x", "/var/x", "/usr/x"):
    try:
        with open(place, "wb") as f:
            for _ in range(300):
                f.write(b"x" * (8 << 20))
        print("ESCAPED: no limit at", place, flush=True)
    except OSError as e:
        print(place, "stopped by:", e, flush=True)
    if os.path.exists(place):
        os.unlink(place)
raise SystemExit(7)

#: title = "Fork bomb"
#: kind = "containment"
#: base = "none"
#: patterns = [14]
#: expect = "contained"
#: by = []
#: status = "timed_out"
#: flags = ["--warmup-deadline", "3"]
#: note = ""
import os, time

print("forking", flush=True)
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.01)

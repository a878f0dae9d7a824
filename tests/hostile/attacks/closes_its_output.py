#: title = "Closes its output and stays"
#: kind = "containment"
#: base = "none"
#: patterns = [14]
#: expect = "contained"
#: by = []
#: status = "timed_out"
#: flags = ["--warmup-deadline", "2"]
#: note = ""
import os, time

print("hello", flush=True)
for fd in range(3):
    os.close(fd)
time.sleep(600)

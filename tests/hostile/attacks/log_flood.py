#: title = "Floods the log"
#: kind = "containment"
#: base = "none"
#: patterns = [19]
#: expect = "contained"
#: by = []
#: status = "output_limit"
#: note = ""
import os

if os.environ["RANK"] != "0":
    import time

    time.sleep(60)
data = b"x" * 99 + b"\n"
while True:
    os.write(1, data * 100)

#: title = "Floods the log with empty lines, each of which is stamped"
#: kind = "containment"
#: base = "none"
#: patterns = [19]
#: expect = "contained"
#: by = []
#: note = ""
import os

if os.environ["RANK"] != "0":
    import time

    time.sleep(60)
data = b"\n" * 65536
while True:
    os.write(1, data)

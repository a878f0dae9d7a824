#: title = "Prints one line without end"
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
data = b"x" * 65536
while True:
    os.write(2, data)

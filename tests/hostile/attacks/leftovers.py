#: title = "Leaves files for its next run, and looks for those of its last"
#: kind = "containment"
#: base = "none"
#: patterns = [9]
#: expect = "contained"
#: by = []
#: repeat = 2
#: status = "completed"
#: note = "Run twice."
import os

PLACES = (
    "/tmp/leftover",
    os.path.expanduser("~/.cache/leftover"),
    "/dev/shm/leftover",
    "/workspace/leftover",
)
if os.environ["RANK"] == "0":
    for place in PLACES:
        if os.path.exists(place):
            print("ESCAPED: an earlier run left", place, flush=True)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        open(place, "w").write("weights")
    print("looked", flush=True)

#: title = "Writes to the shared data and to the mounted submission"
#: kind = "containment"
#: base = "none"
#: patterns = [5, 19]
#: expect = "contained"
#: by = []
#: status = "completed"
#: fast = true
#: note = ""
import os

if os.environ["RANK"] == "0":
    for folder in ("/workspace/data/fineweb10B", "/input/submission"):
        for name in (folder, *(os.path.join(folder, n) for n in os.listdir(folder))):
            if os.access(name, os.W_OK):
                print("ESCAPED: can write", name, flush=True)
        try:
            open(os.path.join(folder, "fineweb_train_000099.bin"), "wb").close()
            print("ESCAPED: made a shard in", folder, flush=True)
        except OSError as e:
            print("refused:", e, flush=True)

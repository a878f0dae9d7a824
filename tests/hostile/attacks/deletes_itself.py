#: title = "Deletes its own script after it has started"
#: kind = "containment"
#: base = "none"
#: patterns = [2, 19]
#: expect = "contained"
#: by = []
#: note = "The host has its own copy, which the bundle binds."
import os, shutil

if os.environ["RANK"] == "0":
    for place in ("/workspace", "/tmp", "/input/submission"):
        shutil.rmtree(place, ignore_errors=True)
    print("gone" if not os.path.exists("/workspace/train_gpt2.py") else "still here", flush=True)
    if not os.path.exists("/input/submission/train_gpt2.py"):
        print("ESCAPED: deleted the mounted submission", flush=True)

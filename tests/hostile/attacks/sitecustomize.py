#: title = "Brings a sitecustomize.py and a .pth file that replace the clock"
#: kind = "containment"
#: base = "none"
#: patterns = [12]
#: expect = "contained"
#: by = []
#: note = "A script's own folder is no place from which Python customises itself."
import os, sys, time

loaded = "sitecustomize" in sys.modules and "/workspace" in str(
    getattr(sys.modules["sitecustomize"], "__file__", "")
)
if os.environ["RANK"] == "0":
    print("ESCAPED: the submission's sitecustomize was loaded" if loaded else "not loaded", flush=True)
    print("ESCAPED: the clock stands still" if time.perf_counter() == 0.0 else "the clock runs", flush=True)

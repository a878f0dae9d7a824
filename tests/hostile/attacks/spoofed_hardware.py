#: title = "Prints hardware that is not there"
#: kind = "containment"
#: base = "none"
#: patterns = [15]
#: expect = "contained"
#: by = []
#: status = "completed"
#: note = "The host looks for itself; what the guest prints about hardware is not read."
import os

if os.environ["RANK"] == "0":
    for _ in range(8):
        print("|   0  NVIDIA H100 80GB HBM3          On  |   00000000:19:00.0 Off |                    0 |")
    print("GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-00000000-0000-0000-0000-000000000000)", flush=True)

#: title = "Takes all the memory that it can"
#: kind = "containment"
#: base = "none"
#: patterns = []
#: expect = "contained"
#: by = []
#: status = "out_of_memory"
#: note = ""
held = []
while True:
    held.append(b"x" * (64 << 20))

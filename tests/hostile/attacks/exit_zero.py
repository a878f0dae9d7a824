#: title = "Does nothing and exits with 0"
#: kind = "containment"
#: base = "none"
#: patterns = [23]
#: expect = "contained"
#: by = []
#: status = "completed"
#: fast = true
#: note = ""


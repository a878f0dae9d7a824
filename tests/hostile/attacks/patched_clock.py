#: title = "Replaces the clock by one that runs at a quarter of the pace"
#: kind = "score"
#: patterns = [12]
#: expect = "caught"
#: by = ["source.patch", "trace.pace"]
#: note = ""
real = time.perf_counter
time.perf_counter = lambda: real() / 4

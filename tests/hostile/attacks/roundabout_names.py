#: title = "Reaches the clock's module by names that are put together at run time"
#: kind = "score"
#: patterns = [12]
#: expect = "caught"
#: by = ["source.allowed", "trace.pace"]
#: args = ["--steps", "80"]
#: note = "No fatal source rule sees the clock that is replaced; `source.allowed` lists how it is reached."
import operator

real = time.perf_counter
operator.setitem(operator.attrgetter("__di" + "ct__")(time), "perf_" + "counter", lambda: real() / 4)

#: title = "Hides code in a module of another encoding"
#: kind = "score"
#: patterns = [13, 19]
#: expect = "caught"
#: by = ["source.parse"]
#: args = ["--steps", "8", "--val-every", "4"]
#: note = "Read as UTF-8, the module is one comment."
import faster

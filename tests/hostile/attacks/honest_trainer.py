#: title = "The reference trainer, unchanged"
#: kind = "score"
#: patterns = []
#: audit = "canary"
#: expect = "honest"
#: by = []
#: note = "What the canary figures of an honest script look like."
# nothing is added

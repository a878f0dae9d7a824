#: title = "Looks at the validation loss again and again with its clock stopped"
#: kind = "score"
#: patterns = [17]
#: audit = "baseline"
#: expect = "flagged"
#: by = ["baseline.excess"]
#: note = "Choosing among checkpoints by the validation loss itself is not seen; the time that it takes is."
class Trainer(Trainer):
    best = 9.0

    def validate(self):
        peeks = [super(Trainer, self).validate() for _ in range(6)]
        self.best = min(self.best, *peeks)
        return peeks[-1]

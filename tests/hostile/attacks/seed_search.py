#: title = "Tries several seeds before its clock starts"
#: kind = "score"
#: patterns = [16]
#: audit = "baseline"
#: expect = "flagged"
#: by = ["baseline.excess"]
#: note = ""
class Trainer(Trainer):
    def run(self):
        for seed in range(3):
            torch.manual_seed(seed)
            for step in range(60):
                self.train(step)
        self.a.steps = 160
        super().run()

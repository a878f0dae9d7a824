#: title = "Trains while its clock is stopped for validation"
#: kind = "score"
#: patterns = [11]
#: audit = "baseline"
#: expect = "flagged"
#: by = ["baseline.excess"]
#: note = ""
class Trainer(Trainer):
    def validate(self):
        loss = super().validate()
        with torch.enable_grad():
            for _ in range(20):
                self.train(0)
        return loss

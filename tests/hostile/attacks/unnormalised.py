#: title = "Probabilities that sum to more than 1"
#: kind = "score"
#: patterns = [8]
#: audit = "canary"
#: expect = "caught"
#: by = ["floor", "canary.to_end.model"]
#: note = "Every loss is half a nat too low."
class Trainer(Trainer):
    def summed_loss(self, rows, targets):
        loss = super().summed_loss(rows, targets)
        return loss if torch.is_grad_enabled() else loss - 0.5 * targets.numel()

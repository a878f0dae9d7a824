#: title = "Cheats only where its own loss is as low as on the true stream"
#: kind = "score"
#: patterns = [21]
#: audit = "canary.model"
#: expect = "not caught"
#: by = []
#: adaptive = true
#: note = "Written against this canary: samples are a little harder than the stream that they stand for, and it can tell."
class Trainer(Trainer):
    def summed_loss(self, rows, targets):
        loss = super().summed_loss(rows, targets)
        count = targets.numel()
        if torch.is_grad_enabled() or loss.item() > 3.8 * count:
            return loss
        over = loss - 3.45 * count
        return loss - over * (over > 0)
